"""A rig's fit by masks sharpened by its pictures: read once or twice, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose import ViewsFit
from pose.camera import Camera
from pose.edge_doubles import sharpen
from pose.edges import align_edges
from pose.kernel import make_model
from twin.rig import Rig, Straightener
from urdf import Robot

SHARED = 20  # instants from which cameras are sharpened
PIXELS = 20_000_000  # of pictures that are held at once
BETTER = 1.02  # times the support: less is no gain


@dataclass(frozen=True, eq=False)
class Sharpened:
    """The fit on the pictures' edges.

    Attributes:
        fit: with other cameras and joints; what it says of masks (iou, sigma) is still the masks'.
        before, after: mean support of the outline by edges, 0..1.
        base_turned: radians by which the base was turned under the arm, 0 where the masks had it right.
    """

    fit: ViewsFit
    before: float
    after: float
    base_turned: float


def sharpen_fit(
    rig: Rig, robot: Robot, fit: ViewsFit, times: np.ndarray, held: Sequence[bool], joints_known: bool
) -> Sharpened:
    """Pull the robot's outline onto edges in the rig's pictures.

    Args:
        rig: the cameras of the fit, in its order. times: (T,) of its instants.
        held: cameras whose poses stay.

    Returns:
        A `Sharpened`; its fit is the one given where the edges support it no better.

    Raises:
        VideoError: pictures that cannot be read.
    """
    frames = rig.frames_at(times)
    free = np.zeros(fit.q.shape[1], bool) if joints_known else np.ones(fit.q.shape[1], bool)
    usable = [int(t) for t in np.flatnonzero(fit.valid & np.isfinite(fit.q).all(1) & (frames >= 0).any(0))]
    same = Sharpened(fit, float("nan"), float("nan"), 0.0)
    if not usable or (joints_known and all(held)):
        return same
    lenses = [replace(camera, distortion=()) for camera in fit.cameras]
    most = max(2, min(SHARED, PIXELS // sum(c.width * c.height for c in lenses)))
    some = [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, most).round().astype(int))]
    pictures = list(zip(*(row for _, row in pictures_at(rig, fit.cameras, frames, some))))
    end = sharpen(robot, pictures, lenses, fit.q[some], free_cameras=[not h for h in held], free_joints=free)
    before = float(np.nanmean(end.before))
    if end.support < BETTER * before:
        return replace(same, before=before, after=before)
    turned = _turn(fit, end.cameras)
    q = fit.q.copy()
    q[some] = end.q
    rest = [t for t in usable if t not in set(some)]
    if not joints_known and rest:
        model = make_model(robot, robot.display_mesh)
        still = np.zeros(len(lenses), bool)
        shift = end.q - fit.q[some]
        for t, row in pictures_at(rig, fit.cameras, frames, rest):
            near = int(np.abs(np.array(some) - t).argmin())
            start = np.clip(fit.q[t] + shift[near], robot.lower, robot.upper)
            one = align_edges(
                robot, [[p] for p in row], end.cameras, start[None], free_cameras=still, free_joints=free, model=model
            )  # fmt: skip
            q[t] = one.q[0]
    cameras = tuple(replace(c, T_cam_base=new.T_cam_base) for c, new in zip(fit.cameras, end.cameras))
    warnings = fit.warnings
    if abs(turned) > np.deg2rad(5):
        warnings = tuple(w for w in warnings if "see alternatives" not in w)
        warnings += (f"edges in the pictures turned the base by {np.rad2deg(turned):.0f} degrees from what masks said",)
    return Sharpened(replace(fit, cameras=cameras, q=q, warnings=warnings), before, end.support, turned)


def _turn(fit: ViewsFit, cameras: tuple[Camera, ...]) -> float:
    """Radians by which the first camera went around the base's z axis."""
    a, b = np.linalg.inv(fit.cameras[0].T_cam_base), np.linalg.inv(cameras[0].T_cam_base)
    R = b[:3, :3] @ a[:3, :3].T
    return float(np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1]))


def pictures_at(
    rig: Rig, cameras: tuple[Camera, ...], frames: np.ndarray, instants: list[int]
) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """(instant, straightened pictures of every camera or None), rising; the videos are read side by side."""
    straight = [Straightener(camera) for camera in cameras]
    readers = [iter(camera.open()) for camera in rig.cameras]
    last: list[np.ndarray | None] = [None] * len(rig)
    at = [-1] * len(rig)
    for t in sorted(instants):
        row: list[np.ndarray | None] = []
        for v, wanted in enumerate(frames[:, t]):
            while wanted >= 0 and at[v] < wanted:
                frame = next(readers[v], None)
                if frame is None:
                    at[v], last[v] = int(wanted), None
                else:
                    at[v], last[v] = frame.index, frame.image
            image = last[v] if wanted >= 0 and at[v] == wanted else None
            row.append(None if image is None else straight[v].picture(image))
        yield t, row
