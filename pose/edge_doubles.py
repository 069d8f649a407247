"""What masks can hardly tell apart, told apart by edges: the base turned under the arm, the hand half a turn on.

All of an outline but the base's stays when the base turns and the first joint turns back (`pose.azimuth`), and a hand
looks nearly the same after half a turn. Masks err by more than such doubles differ; edges in the pictures do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pose.azimuth import base_axis
from pose.camera import Camera
from pose.edges import Aligned, Gallery, align_edges
from pose.evenly import evenly
from pose.hypotheses import mistakable
from pose.kernel import make_model
from urdf import Robot

SCANNED = 6  # instants that are looked at for every angle
STEP = np.deg2rad(4.0)
ROUNDS = 5
GAIN = 1e-4  # of support: less and descending again is of no use
WIDE = 3.0  # pixels: the outline need not sit yet
TRIED = 2  # maxima of the scan that are aligned
BETTER = 1.02  # times the support: less is no reason to turn anything


def sharpen(
    robot: Robot,
    pictures: Sequence[Sequence[np.ndarray | None]],
    cameras: Sequence[Camera],
    q: np.ndarray,
    *,
    free_cameras: Sequence[bool] | None = None,
    free_joints: np.ndarray | None = None,
    free_focal: bool = False,
) -> Aligned:
    """Cameras and joints with the outline on the pictures' edges, and of the doubles that which the edges know.

    Args:
        pictures, cameras, q, free_cameras, free_joints, free_focal: see `align_edges`.

    Raises:
        FitError: see `align_edges`.
    """
    model = make_model(robot, robot.display_mesh)
    gallery = Gallery.of(pictures, cameras, q)
    moving = np.ones(len(cameras), bool) if free_cameras is None else np.asarray(free_cameras, bool)
    loose = np.ones(q.shape[1], bool) if free_joints is None else np.asarray(free_joints, bool)
    options: dict[str, Any] = {"free_cameras": moving, "free_joints": loose, "free_focal": free_focal, "model": model}
    first = align_edges(robot, gallery, cameras, q, **options)
    best = _settled(robot, gallery, first, options)
    if loose.any():
        turned = _half_turns(robot, gallery, best, loose, model)
        best = align_edges(robot, gallery, best.cameras, turned, **options)
    if moving.all():
        for cameras_, q_ in _turned_bases(robot, gallery, best, loose, model):
            trial = align_edges(robot, gallery, cameras_, q_, **options)
            if trial.support > BETTER * best.support:
                best = _settled(robot, gallery, trial, options)
    return replace(best, before=first.before)


def _settled(robot: Robot, gallery: Gallery, at: Aligned, options: dict[str, Any]) -> Aligned:
    """Aligned again for as long as it helps: wide reaches pass what narrow ones got caught by, and the base's valley is
    so flat that a descent stops on its way."""
    for _ in range(ROUNDS):
        again = align_edges(robot, gallery, at.cameras, at.q, **options)
        if again.support < at.support + GAIN:
            break
        at = again
    return at


def _half_turns(robot: Robot, gallery: Gallery, at: Aligned, loose: np.ndarray, model: Any) -> np.ndarray:
    """Joints with those that look the same after a turn as the edges want them, instant by instant."""
    q, support = at.q.copy(), np.nansum(at.after, 0)
    still = np.zeros(len(at.cameras), bool)
    for column, angle in mistakable(robot):
        if not loose[column]:
            continue
        for way in (angle, -angle):
            trial = q.copy()
            trial[:, column] += way
            allowed = (trial[:, column] >= robot.lower[column]) & (trial[:, column] <= robot.upper[column])
            trial[~allowed] = np.nan
            if not np.isfinite(trial).all(1).any():
                continue
            there = align_edges(robot, gallery, at.cameras, trial, free_cameras=still, free_joints=loose, model=model)
            now = np.nansum(there.after, 0)
            better = now > BETTER * support
            q[better], support[better] = there.q[better], now[better]
    return q


def _turned_bases(robot: Robot, gallery: Gallery, at: Aligned, loose: np.ndarray, model: Any):
    """Cameras and joints with the base turned by the angles at which the edges support it most."""
    axis = base_axis(model, loose)
    known = np.flatnonzero(np.isfinite(at.q).all(1))
    if axis is None:
        return
    some = known[evenly(len(known), SCANNED)]
    angles = np.arange(-np.pi, np.pi, STEP)
    support = np.full(len(angles), -np.inf)
    for n, angle in enumerate(angles):
        column = at.q[known, axis.column] - angle
        if (column < robot.lower[axis.column]).any() or (column > robot.upper[axis.column]).any():
            continue
        cameras = [replace(c, T_cam_base=axis.turn(c.T_cam_base, at.q, angle)[0]) for c in at.cameras]
        q = axis.turn(np.eye(4), at.q, angle)[1]
        support[n] = gallery.support(model, cameras, q, some, WIDE)
    peak = np.isfinite(support) & (support >= np.roll(support, 1)) & (support >= np.roll(support, -1))
    peak &= np.abs(angles) > STEP
    for i in [int(i) for i in np.argsort(-support) if peak[i]][:TRIED]:
        cameras = [replace(c, T_cam_base=axis.turn(c.T_cam_base, at.q, angles[i])[0]) for c in at.cameras]
        yield cameras, axis.turn(np.eye(4), at.q, angles[i])[1]
