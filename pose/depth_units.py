"""Depth held against the robot: its size in metres is known, so wrong units show."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from pose.camera import Camera
from pose.kernel import Model, see

UNITS = (1e-3, 1e-2, 0.1, 0.25, 10.0, 100.0, 1e3)  # by which depth can be off: mm, cm, tenths, quarters of mm
NEAR = 1.15  # factor within which a unit is recognised
RIGHT = 1.06  # factor within which depth agrees with the fitted robot
LEAST = 300  # pixels


def depth_ratio(model: Model, camera: Camera, looks: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, int]:
    """Median of measured over drawn depth on the robot's inner pixels, and how many there were.

    Args:
        camera: with T_cam_base, without distortion.
        looks: joints (n,) and the depth picture (H,W) in metres, 0 where unknown; other sizes are passed over.
    """
    T, K = np.asarray(camera.T_cam_base, float), np.asarray(camera.K, float)
    ratios: list[np.ndarray] = []
    for q, measured in looks:
        if measured.shape != (camera.height, camera.width):
            continue
        face_id, inverse, _ = see(model, q, T, K, camera.height, camera.width, 1)
        drawn = (face_id >= 0).astype(np.uint8)
        inner = cv2.erode(drawn, np.ones((7, 7), np.uint8)).astype(bool) & (measured > 0)
        ratios.append(measured[inner] * inverse[inner])
    every = np.concatenate(ratios) if ratios else np.empty(0)
    return (float(np.median(every)) if len(every) else float("nan")), len(every)


def unit_of(ratio: float) -> float | None:
    """The unit that makes depth so many times too large, 1.0 where it is right; None: no unit that is known."""
    if 1 / RIGHT <= ratio <= RIGHT:
        return 1.0
    unit = min(UNITS, key=lambda u: abs(np.log(ratio / u)))
    return unit if max(ratio / unit, unit / ratio) <= NEAR else None
