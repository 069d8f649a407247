"""Plots of the report as SVG that takes the page's own text colour, so it reads on light and dark alike."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from flows.episode import Episode

_INK = "#010203"  # stands for currentColor, which matplotlib does not know
LINE, BAND, BAD = "#2a8fd4", "#56b4e9", "#d55e00"
MAX_POINTS = 1500  # a curve's points beyond this are thinned out: nobody sees them
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so widths can be measured; the page sets its own
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlecolor": _INK,
    "axes.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "urdfit",
}


def joint_figure(episode: Episode, sliding: Sequence[bool] | np.ndarray) -> str:
    """One small plot a joint: the angle in degrees (sliding joints: millimetres) with a band of 2 sigma."""
    count = len(episode.joint_names)
    columns = 2 if count > 1 else 1
    rows = -(-count // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 1.55 * rows + 0.3), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).T.ravel()
        t = episode.time_s
        step = max(1, len(t) // MAX_POINTS)
        for i, (axis, name) in enumerate(zip(axes, episode.joint_names)):
            factor, unit = (1000.0, "mm") if sliding[i] else (np.rad2deg(1.0), "°")
            q, sigma = episode.q[::step, i] * factor, np.minimum(episode.sigma[::step, i], 10.0) * factor
            axis.fill_between(t[::step], q - 2 * sigma, q + 2 * sigma, color=BAND, alpha=0.3, lw=0)
            axis.plot(t[::step], q, color=LINE, lw=1.3)
            hidden = ~episode.observable[::step, i] & episode.valid[::step]
            axis.plot(t[::step][hidden], q[hidden], ".", color=BAD, ms=2.5)
            axis.set_title(f"{name} [{unit}]", loc="left", pad=3)
            if np.isfinite(q).any():
                low, high = np.nanmin(q), np.nanmax(q)
                room = max(0.15 * (high - low), 2.0 if not sliding[i] else 1.0)
                axis.set_ylim(low - 2 * room, high + 2 * room)  # wide bands must not flatten the curve
            _finish(axis)
        for axis in axes[count:]:
            axis.set_visible(False)
        for axis in {axes[min(count, (k + 1) * rows) - 1] for k in range(columns)}:
            axis.set_xlabel("time [s]")
            axis.tick_params(labelbottom=True)
        return _svg(figure, "Joint values over time with a band of two standard deviations")


def quality_figure(episode: Episode) -> str:
    """The overlap of fitted robot and mask over time; frames without a robot are marked."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 1.9), layout="constrained")
        axis = figure.subplots()
        t, step = episode.time_s, max(1, len(episode.time_s) // MAX_POINTS)
        axis.plot(t[::step], episode.iou[::step], color=LINE, lw=1.3)
        missing = ~np.asarray(episode.valid, bool)
        axis.plot(t[missing], np.zeros(missing.sum()), "|", color=BAD, ms=9)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("time [s]")
        axis.set_ylabel("IoU")
        _finish(axis)
        return _svg(figure, "Overlap of the fitted robot with its mask over time")


def gripper_figure(episode: Episode) -> str:
    """The gripper's opening in millimetres with a band of 2 sigma; empty text for a robot without one."""
    if not np.isfinite(episode.gripper_opening).any():
        return ""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 1.9), layout="constrained")
        axis = figure.subplots()
        t, step = episode.time_s, max(1, len(episode.time_s) // MAX_POINTS)
        opening = episode.gripper_opening[::step] * 1000
        sigma = np.minimum(episode.gripper_sigma[::step] * 1000, 200)
        axis.fill_between(t[::step], opening - 2 * sigma, opening + 2 * sigma, color=BAND, alpha=0.3, lw=0)
        axis.plot(t[::step], opening, color=LINE, lw=1.3)
        axis.set_ylim(-5, max(20.0, float(np.nanmax(opening)) * 1.3))
        axis.set_xlabel("time [s]")
        axis.set_ylabel("opening [mm]")
        _finish(axis)
        return _svg(figure, "Gripper opening over time with a band of two standard deviations")


def _finish(axis: Any) -> None:
    axis.grid(True, color="#888888", alpha=0.25, lw=0.5)
    axis.tick_params(length=2.5, width=0.6)
    axis.margins(x=0.01)


def _svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that scales with the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    text = re.sub(r'<svg ([^>]*?)width="[\d.]+pt"', r'<svg role="img" \1', text, count=1)
    return re.sub(r'<svg ([^>]*?)height="[\d.]+pt"', r"<svg \1", text, count=1)
