"""Curves over time beside the 3D view: a joint with its uncertainty, the gripper, the overlap with the masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from flows.episode import Episode
from flows.figures import MAX_POINTS

BAND = 2.0  # standard deviations
INK, SHADE, MARK = "#0072b2", "rgba(0,114,178,0.25)", "#d55e00"


class EpisodePlots:
    """One joint at a time with +-2 sigma, then gripper and overlap; `mark(index)` shows where the time line is."""

    def __init__(self, server: Any, episode: Episode, sliding: np.ndarray):
        self._episode = episode
        self._rows = np.unique(np.linspace(0, len(episode) - 1, min(len(episode), MAX_POINTS)).round().astype(int))
        self._sliding = np.asarray(sliding, bool)
        self._index = 0
        self._joint = server.gui.add_dropdown("joint", list(episode.joint_names))
        self._curve = server.gui.add_uplot(
            *self._joint_data(), bands=({"series": (3, 2), "fill": SHADE},), scales={"x": {"time": False}}, aspect=1.6
        )
        self._joint.on_update(lambda _: self._redraw())
        self._lower: list[tuple[Any, Any]] = []
        if np.isfinite(episode.gripper_open).any():
            self._add(server, "gripper, 1 = open", episode.gripper_open)
        self._add(server, "overlap with the mask", episode.iou)

    def mark(self, index: int) -> None:
        """Marks an instant in every plot."""
        self._index = index
        self._curve.data = self._joint_data()[0]
        for plot, values in self._lower:
            plot.data = (self._times, values[self._rows], self._marked(values))

    @property
    def _times(self) -> np.ndarray:
        return np.asarray(self._episode.time_s, float)[self._rows]

    def _marked(self, values: np.ndarray) -> np.ndarray:
        """NaN but for the row nearest the marked instant."""
        out = np.full(len(self._rows), np.nan)
        out[np.argmin(np.abs(self._rows - self._index))] = values[self._index]
        return out

    def _joint_data(self) -> tuple[tuple[np.ndarray, ...], tuple[dict[str, Any], ...]]:
        k = self._episode.joint_names.index(self._joint.value)
        factor, unit = (1000.0, "mm") if self._sliding[k] else (180 / np.pi, "deg")
        q, sigma = factor * self._episode.q[:, k], factor * self._episode.sigma[:, k]
        low, high = (q + sign * BAND * sigma for sign in (-1, 1))
        data = (self._times, q[self._rows], low[self._rows], high[self._rows], self._marked(q))
        series = (
            {"label": "s"}, {"label": unit, "stroke": INK, "width": 2}, {"label": "-2 sigma", "stroke": SHADE},
            {"label": "+2 sigma", "stroke": SHADE}, _dot(),
        )  # fmt: skip
        return data, series

    def _redraw(self) -> None:
        data, series = self._joint_data()
        self._curve.series, self._curve.data = series, data

    def _add(self, server: Any, title: str, values: np.ndarray) -> None:
        data = (self._times, values[self._rows], self._marked(values))
        series = ({"label": "s"}, {"label": title, "stroke": INK, "width": 2}, _dot())
        plot = server.gui.add_uplot(
            data, series, scales={"x": {"time": False}, "y": {"range": (-0.05, 1.05)}}, aspect=3
        )
        self._lower.append((plot, values))


def _dot() -> dict[str, Any]:
    return {"label": "now", "stroke": MARK, "points": {"show": True, "size": 9, "fill": MARK}}
