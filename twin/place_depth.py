"""Depth held against the robot: its size in metres is known, so wrong units show."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pose import ViewsFit
from pose.kernel import make_model, see
from twin.rig import RigCamera
from urdf import Robot

INSTANTS = 6
UNITS = (1e-3, 1e-2, 0.1, 0.25, 10.0, 100.0, 1e3)  # by which depth can be off: mm, cm, tenths, quarters of mm
NEAR = 1.15  # factor within which a unit is recognised
RIGHT = 1.06  # factor within which depth agrees with the fitted robot
LEAST = 300  # pixels


def check_depth(given: RigCamera, robot: Robot, fit: ViewsFit, view: int, times: np.ndarray) -> tuple[RigCamera, str]:
    """Compare a camera's depth with that of the fitted robot; mend the unit where it is plainly another.

    Returns:
        The camera (with another scale, or without depth that cannot be right), and what to say, "" where all is well.

    Raises:
        TwinError: a depth file that cannot be read.
    """
    if given.depth is None:
        return given, ""
    ratio, pixels = depth_ratio(given, robot, fit, view, times)
    if pixels < LEAST:
        return given, "; depth not checked: it sees too little of the robot"
    if 1 / RIGHT <= ratio <= RIGHT:
        return given, ""
    unit = min(UNITS, key=lambda u: abs(np.log(ratio / u)))
    if max(ratio / unit, unit / ratio) <= NEAR:
        scale = given.depth.scale / unit
        mended = replace(given, depth=replace(given.depth, scale=scale))
        return mended, f"; depth was {ratio:.3g} times what the robot's size says: taken as {scale:.3g} m a unit"
    if 1 / NEAR <= ratio <= NEAR:
        return given, f"; depth is {ratio:.3f} times what the robot's size says: focal length or depth scale is off"
    return replace(given, depth=None), (
        f"; depth left out: it is {ratio:.3g} times what the robot's size says, which is no unit known"
    )


def depth_ratio(given: RigCamera, robot: Robot, fit: ViewsFit, view: int, times: np.ndarray) -> tuple[float, int]:
    """Median of measured over drawn depth on the robot's inner pixels, and how many there were."""
    assert given.depth is not None
    model = make_model(robot, robot.display_mesh)
    camera = fit.cameras[view]
    good = [t for t in range(len(times)) if fit.valid[t] and np.isfinite(fit.iou[view, t])]
    ratios: list[np.ndarray] = []
    for t in [good[i] for i in np.unique(np.linspace(0, len(good) - 1, INSTANTS).round().astype(int))] if good else []:
        frame = int(np.abs(given.times - times[t]).argmin())
        measured = given.depth.read(frame)
        if measured.shape != (camera.height, camera.width):
            continue
        T, K = np.asarray(camera.T_cam_base, float), np.asarray(camera.K, float)
        face_id, inverse, _ = see(model, fit.q[t], T, K, camera.height, camera.width, 1)
        drawn = (face_id >= 0).astype(np.uint8)
        inner = cv2.erode(drawn, np.ones((7, 7), np.uint8)).astype(bool) & (measured > 0)
        ratios.append(measured[inner] * inverse[inner])
    every = np.concatenate(ratios) if ratios else np.empty(0)
    return (float(np.median(every)) if len(every) else float("nan")), len(every)
