"""Depth held against the robot: its size in metres is known, so wrong units show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pose import ViewsFit
from pose.depth_units import LEAST, NEAR, depth_ratio, unit_of
from pose.kernel import make_model
from twin.rig import RigCamera
from urdf import Robot

INSTANTS = 6


def check_depth(given: RigCamera, robot: Robot, fit: ViewsFit, view: int, times: np.ndarray) -> tuple[RigCamera, str]:
    """Compare a camera's depth with that of the fitted robot; mend the unit where it is plainly another.

    Returns:
        The camera (with another scale, or without depth that cannot be right), and what to say, "" where all is well.

    Raises:
        TwinError: a depth file that cannot be read.
    """
    if given.depth is None:
        return given, ""
    ratio, pixels = _measured(given, robot, fit, view, times)
    if pixels < LEAST:
        return given, "; depth not checked: it sees too little of the robot"
    unit = unit_of(ratio)
    if unit == 1.0:
        return given, ""
    if unit is not None:
        scale = given.depth.scale / unit
        mended = replace(given, depth=replace(given.depth, scale=scale))
        return mended, f"; depth was {ratio:.3g} times what the robot's size says: taken as {scale:.3g} m a unit"
    if 1 / NEAR <= ratio <= NEAR:
        return given, f"; depth is {ratio:.3f} times what the robot's size says: focal length or depth scale is off"
    return replace(given, depth=None), (
        f"; depth left out: it is {ratio:.3g} times what the robot's size says, which is no unit known"
    )


def _measured(given: RigCamera, robot: Robot, fit: ViewsFit, view: int, times: np.ndarray) -> tuple[float, int]:
    assert given.depth is not None
    depth, stamps = given.depth, given.times
    good = [t for t in range(len(times)) if fit.valid[t] and np.isfinite(fit.iou[view, t])]
    some = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, INSTANTS).round().astype(int))] if good else []
    looks = ((fit.q[t], depth.read(int(np.abs(stamps - times[t]).argmin()))) for t in some)
    return depth_ratio(make_model(robot, robot.display_mesh), fit.cameras[view], looks)
