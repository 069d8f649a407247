"""What a manifest says of a batch as a whole: counts, causes, quality, times. Numbers only, for the report."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flows.batch.executor import DONE, RETRY
from flows.batch.manifest import Manifest

BINS = 20
EXAMPLES = 10  # episodes named of one cause
SHOWN = 12  # episodes with a picture
COLUMNS = [
    "status",
    "attempt",
    "folder",
    "error",
    "cause",
    "frames",
    "mean_iou",
    "total_s",
    "stages_s",
    "peak_mb",
    "started",
]


@dataclass
class Cause:
    """Failures that have something in common: how many, and (id, error, attempts) of the first."""

    name: str
    count: int = 0
    examples: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """How long a stage took: seconds in all, for half of the episodes at most, for 95 % at most, and the longest."""

    name: str
    total: float
    median: float
    p95: float
    longest: float
    longest_in: str


@dataclass(frozen=True)
class Summary:
    """A batch as its manifest has it.

    Attributes:
        counts: episodes by status. causes: most frequent first. stages: slowest first.
        histogram: episodes by mean IoU, BINS equal bins over 0..1.
        pictured: (id, folder, mean_iou) of the worst, and of some evenly spread over quality.
        slowest: (id, folder, seconds) of the episodes that took longest.
        frames: in all. seconds: of work in all. span: Unix times of the first start and the last.
    """

    counts: dict[str, int]
    causes: list[Cause]
    stages: list[Stage]
    histogram: list[int]
    median_iou: float
    pictured: list[tuple[str, str, float]]
    slowest: list[tuple[str, str, float]]
    frames: int
    seconds: float
    peak_mb: float
    span: tuple[float, float]


def summarize(manifest: Manifest) -> Summary:
    """Read a manifest once; memory grows by some 100 bytes an episode."""
    counts: dict[str, int] = defaultdict(int)
    causes: dict[str, Cause] = {}
    times: dict[str, list[float]] = defaultdict(list)
    longest: dict[str, tuple[float, str]] = {}
    done: list[tuple[str, str, float, float]] = []  # id, folder, mean IoU, seconds
    frames, seconds, peak, starts = 0, 0.0, 0.0, [np.inf, 0.0]
    for row in manifest.latest(COLUMNS):
        counts[row["status"]] += 1
        seconds += row["total_s"] or 0.0
        peak = max(peak, row["peak_mb"] or 0.0)
        starts = [min(starts[0], row["started"] or np.inf), max(starts[1], row["started"] or 0.0)]
        if row["status"] != DONE:
            _add_failure(causes, row)
            continue
        frames += row["frames"] or 0
        done.append((row["id"], row["folder"], _number(row["mean_iou"]), row["total_s"] or 0.0))
        for name, value in row["stages_s"] or ():
            times[name].append(value)
            if value >= longest.get(name, (-1.0, ""))[0]:
                longest[name] = value, row["id"]
    iou = np.array([one[2] for one in done], float)
    known = iou[np.isfinite(iou)]
    return Summary(
        counts=dict(counts),
        causes=sorted(causes.values(), key=lambda cause: -cause.count),
        stages=_stages(times, longest),
        histogram=np.histogram(known, BINS, (0.0, 1.0))[0].tolist(),
        median_iou=float(np.median(known)) if len(known) else float("nan"),
        pictured=[done[i][:3] for i in _chosen(iou)],
        slowest=[(one[0], one[1], one[3]) for one in sorted(done, key=lambda one: -one[3])[:EXAMPLES]],
        frames=frames,
        seconds=seconds,
        peak_mb=peak,
        span=(starts[0] if np.isfinite(starts[0]) else 0.0, starts[1]),
    )


def _add_failure(causes: dict[str, Cause], row: dict[str, Any]) -> None:
    name = row["cause"] or ("to be tried again" if row["status"] == RETRY else "unknown")
    cause = causes.setdefault(name, Cause(name))
    cause.count += 1
    if len(cause.examples) < EXAMPLES:
        cause.examples.append((row["id"], row["error"] or "", row["attempt"] or 1))


def _stages(times: dict[str, list[float]], longest: dict[str, tuple[float, str]]) -> list[Stage]:
    stages = [
        Stage(name, float(np.sum(v)), float(np.median(v)), float(np.percentile(v, 95)), *longest[name])
        for name, v in times.items()
    ]
    return sorted(stages, key=lambda stage: -stage.total)


def _chosen(iou: np.ndarray) -> list[int]:
    """Indices of the episodes to show: the worst half of SHOWN, the others evenly spread up to the best."""
    order = np.argsort(np.where(np.isfinite(iou), iou, -1.0), kind="stable")
    worst = order[: SHOWN // 2]
    rest = order[SHOWN // 2 :]
    spread = np.linspace(0, len(rest) - 1, min(SHOWN - SHOWN // 2, len(rest))).round().astype(int)
    return [*worst.tolist(), *rest[spread].tolist()]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def manifest_of(out: str | Path) -> Manifest:
    """The manifest of a batch's folder."""
    return Manifest(Path(out) / "manifest")
