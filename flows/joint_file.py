"""The joints that a robot reported, as a `q.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flows.errors import FlowError
from flows.files import read_json

if TYPE_CHECKING:
    from urdf import Robot


@dataclass(frozen=True)
class JointFile:
    """Rows of joints.

    Attributes:
        q: (M,n) rad or m in the robot's joint order, NaN for joints that the file does not name.
        times: (M,) seconds of the rows on the robot's clock, increasing; None: a row a frame, or one row.
    """

    q: np.ndarray
    times: np.ndarray | None = None


def load_joints(path: str | Path, robot: Robot, frames: int | None = None) -> JointFile:
    """Read a q.json: {"joint_names": [...], "q": [[...], ...], "times": [...]}; times only where rows are no frames.

    Args:
        frames: of the video, where known: rows without times must be as many, or one.

    Raises:
        FlowError: no such file, unknown joint names, or rows or times of another length or number.
    """
    data = read_json(path, "joint file")
    try:
        names, rows = list(data["joint_names"]), np.atleast_2d(np.array(data["q"], float))
        times = None if data.get("times") is None else np.array(data["times"], float)
    except (KeyError, TypeError, ValueError):
        raise FlowError(
            f'{path}: expected {{"joint_names": [...], "q": [[...], ...]}} with one row of numbers a frame'
        ) from None
    unknown = [n for n in names if n not in robot.joint_names]
    if unknown:
        raise FlowError(f"{path}: joint {unknown[0]!r} is none of {robot.name}'s: {', '.join(robot.joint_names)}")
    if rows.ndim != 2 or rows.shape[1] != len(names) or len(rows) == 0:
        raise FlowError(f"{path}: the rows of q have {rows.shape[-1]} numbers, but joint_names lists {len(names)}")
    if times is not None:
        if times.shape != (len(rows),) or len(rows) < 2 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise FlowError(
                f"{path}: times must be {max(len(rows), 2)} increasing numbers of seconds, one a row of q; leave them "
                "out where rows are frames"
            )
    elif frames is not None and len(rows) not in (1, frames):
        raise FlowError(
            f"{path}: q has {len(rows)} rows, the video {frames} frames; give one row a frame, or one row, or "
            'the rows\' "times"'
        )
    q = np.full((len(rows), len(robot.joint_names)), np.nan)
    for column, name in enumerate(names):
        q[:, robot.joint_names.index(name)] = rows[:, column]
    return JointFile(q, times)
