"""Statistics of features as LeRobot keeps them, per episode and over a data set.

An episode's are exact. Over a data set, mean and standard deviation are merged exactly (Chan, Golub and LeVeque, 1979);
quantiles cannot be, and become the outermost of the parts', as lerobot's own writer does: bounds, not estimates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
PICTURES = 100  # looked at of an episode, evenly spread
Stats = dict[str, np.ndarray]


def column_stats(values: np.ndarray) -> Stats:
    """Of a column (N,) or (N,k): arrays (1,) or (k,), and `count` (1,)."""
    table = np.asarray(values, float).reshape(len(values), -1)
    out = {"min": table.min(0), "max": table.max(0), "mean": table.mean(0), "std": table.std(0)}
    out |= {name: np.quantile(table, q, axis=0) for name, q in QUANTILES.items()}
    return out | {"count": np.array([len(values)])}


class PictureStats:
    """Of pictures (H,W,3) uint8 that are shown to it one by one: arrays (3,1,1) in 0..1."""

    def __init__(self, count: int) -> None:
        self._chosen = set(np.linspace(0, count - 1, min(count, PICTURES)).round().astype(int).tolist())
        self._seen = 0
        self._used = 0
        self._histogram = np.zeros((3, 256), np.int64)

    def add(self, picture: np.ndarray) -> None:
        """Look at the next picture, or pass over it."""
        if self._seen in self._chosen:
            step = max(1, max(picture.shape[:2]) // 150)  # 150 pixels tell the distribution
            for channel, values in enumerate(np.moveaxis(picture[::step, ::step], 2, 0)):
                self._histogram[channel] += np.bincount(values.ravel(), minlength=256)
            self._used += 1
        self._seen += 1

    def result(self) -> Stats:
        """The statistics; `count` is the number of pictures looked at."""
        levels = np.arange(256) / 255
        total = self._histogram.sum(1, keepdims=True)
        mean = self._histogram @ levels / total[:, 0]
        variance = np.maximum(self._histogram @ levels**2 / total[:, 0] - mean**2, 0)
        below = np.cumsum(self._histogram, 1) / total
        present = self._histogram > 0
        out = {
            "min": levels[present.argmax(1)],
            "max": levels[255 - present[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt(variance),
        }
        out |= {name: levels[(below >= q).argmax(1)] for name, q in QUANTILES.items()}
        return {k: v.reshape(3, 1, 1) for k, v in out.items()} | {"count": np.array([self._used])}


def merge(parts: list[Stats]) -> Stats:
    """Statistics of several parts together."""
    counts = np.array([float(np.asarray(p["count"]).item()) for p in parts])
    share = counts / counts.sum()

    def stacked(name: str) -> np.ndarray:
        return np.stack([np.asarray(p[name], float) for p in parts])

    def weighted(values: np.ndarray) -> np.ndarray:
        return np.tensordot(share, values, 1)

    mean = weighted(stacked("mean"))
    out = {
        "min": stacked("min").min(0),
        "max": stacked("max").max(0),
        "mean": mean,
        "std": np.sqrt(weighted(stacked("std") ** 2 + (stacked("mean") - mean) ** 2)),
        "count": np.array([int(counts.sum())]),
    }
    for name, q in QUANTILES.items():
        if all(name in p for p in parts):
            out[name] = stacked(name).min(0) if q <= 0.5 else stacked(name).max(0)
    return out


def plain(stats: dict[str, Stats]) -> dict[str, dict[str, Any]]:
    """As nested lists, for JSON."""
    return {feature: {k: np.asarray(v).tolist() for k, v in entry.items()} for feature, entry in stats.items()}
