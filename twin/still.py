"""Clean pictures of a rig: robot and moving things taken out, one a still camera; and where objects show in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from twin.carve import robot_pixels
from twin.chosen import MasksAt
from twin.errors import TwinError
from twin.observation import Observation
from twin.rig import Rig, RigCamera, Straightener
from twin.scene import RobotMotion
from twin.static import still_views
from twin.thin import stride_for
from urdf import Robot

MaskSet = Sequence[Mapping[str, np.ndarray]]
ObjectMasks = Mapping[str, Mapping[int, Sequence[np.ndarray]]]  # by name, view and frame, as stored
Progress = Callable[[str, int, int], None]
VOTERS = 9  # frames of an object's masks that are asked where it stands


def joints_at(motion: RobotMotion, time_s: float) -> np.ndarray | None:
    """(n,) joints at a time on the rig's clock, linear between instants; None where the motion is not known.

    Joints beyond the first and last instant, or beside a gap, are the nearest's, for as long as instants are apart.
    """
    known = np.flatnonzero(np.isfinite(motion.q).all(1))
    if not len(known):
        return None
    times, q = motion.times[known], motion.q[known]
    step = 1.5 * float(np.median(np.diff(motion.times))) if len(motion.times) > 1 else 1.0
    right = int(np.searchsorted(times, time_s))
    left = max(right - 1, 0)
    right = min(right, len(times) - 1)
    if times[left] <= time_s <= times[right] and times[right] - times[left] <= step:
        share = (time_s - times[left]) / max(times[right] - times[left], 1e-9)
        return (1 - share) * q[left] + share * q[right]
    nearest = left if abs(times[left] - time_s) <= abs(times[right] - time_s) else right
    return q[nearest] if abs(times[nearest] - time_s) <= step else None


class RobotPixels(Sequence):
    """By frame of a camera, the pixels (H,W) bool that are the robot's, by masks and fitted model."""

    def __init__(
        self, camera: RigCamera, robot: Robot | None, motion: RobotMotion | None, masks: MaskSet | None
    ) -> None:
        assert camera.camera is not None
        self._lens, self._times, self._robot, self._motion, self._masks = (
            camera.camera, camera.times, robot, motion, masks,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, frame: Any) -> Any:
        q = None if self._motion is None else joints_at(self._motion, float(self._times[min(frame, len(self) - 1)]))
        mask = None
        if self._masks is not None and frame < len(self._masks):
            known = self._masks[frame]
            mask = None if known is None else np.maximum.reduce([np.asarray(m) for m in known.values()])
        return robot_pixels(self._robot, q, self._lens, mask)


def posed_views(rig: Rig) -> list[int]:
    """Numbers of the cameras that have a pose."""
    return [v for v, c in enumerate(rig.cameras) if has_pose(c)]


def has_pose(camera: RigCamera) -> bool:
    """Whether it is known where the camera was, all the time or frame by frame."""
    return camera.camera is not None and (camera.camera.T_cam_base is not None or camera.Ts_cam_base is not None)


def still_pictures(
    rig: Rig, robot: Robot | None, motion: RobotMotion | None, masks: Sequence[MaskSet | None],
    most: int = 50, progress: Progress | None = None,
) -> list[Observation]:  # fmt: skip
    """One clean picture a placed camera, robot and moving things taken out; the pictures of a camera that moves.

    Args:
        masks: of the robot by camera and frame; None for a camera without. Where some frames have masks, only those
            are used. most: pictures of a camera that are used.
    """
    seen = posed_views(rig)
    ignore = {v: RobotPixels(rig.cameras[v], robot, motion, masks[v] if v < len(masks) else None) for v in seen}
    frames = {v: _spread(rig.cameras[v], masks[v] if v < len(masks) else None, most) for v in seen}
    total = sum(len(mine) for mine in frames.values())

    def watched() -> Iterator[Observation]:
        done = 0
        for v in seen:
            for observation in rig.observations([v], ignore=ignore, frames=frames):
                yield observation
                done += 1
                if progress is not None:
                    progress("fuse: still pictures", done, total)

    return list(still_views(watched()))


def _spread(camera: RigCamera, masks: MaskSet | None, most: int) -> np.ndarray:
    """Numbers of at most `most` frames, evenly spread."""
    frames = masks.frames if isinstance(masks, MasksAt) else np.arange(len(camera.times))
    return frames[:: stride_for([len(frames)], most)]


def object_votes(rig: Rig, views: Sequence[Observation], objects: ObjectMasks) -> dict[str, list[Observation]]:
    """The still pictures with the masks of each object, by a vote of some of its frames.

    Raises:
        TwinError: an object of which no placed camera has masks.
    """
    found: dict[str, list[Observation]] = {}
    for name, masks in objects.items():
        seen = []
        for view in views:
            mine, camera = masks.get(view.view), rig.cameras[view.view].camera
            if mine is None or not len(mine) or camera is None:
                continue
            straight = Straightener(camera)
            frames = np.unique(np.linspace(0, len(mine) - 1, min(VOTERS, len(mine))).round().astype(int))
            votes = sum(straight.mask(np.asarray(mine[int(t)])).astype(int) for t in frames)
            seen.append(replace(view, mask=np.asarray(2 * votes > len(frames))))
        if not seen:
            raise TwinError(f"object {name}: no camera that was placed has masks of it")
        found[name] = seen
    return found
