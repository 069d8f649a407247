"""A clip's fit by masks, sharpened by the clip's pictures.

Masks of a network lie off by a pixel or two, all the same way, and that leaves the flat valleys of a clip's cost - the
base against the camera, distance against focal length - where they please. The robot's own edges in the pictures do
not: camera and joints of some frames are pulled onto them together (`pose.edge_doubles`), then every frame by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.camera import Camera
from pose.clip_fit import ClipFit
from pose.edge_doubles import sharpen
from pose.edges import Edges, align_edges, pull, view_of
from pose.kernel import make_model
from pose.over_time import over_time
from pose.solver import CAMERA_PARAMETERS, SHARED, parallel
from pose.targets import Targets
from pose.trajectory import Trajectory, hidden_joints
from pose.uncertainty import observable
from urdf import Robot

SAMPLE = 20  # frames that settle the camera
BATCH = 8  # frames that are read before they are aligned
NEAR = (5.0, 5.0, 3.0, 3.0, 2.0, 2.0)  # pixels, as `pose.edges.REACH`, once the camera is settled
NEARBY = 0.8  # median overlap with the masks: a worse fit is not within reach of its edges
BETTER = 1.02  # times the support: less is no gain
LOST = 0.05  # of the masks' overlap that may be lost: they are biased, but not wrong
ASTRAY = 0.04  # rad from where the frames before lead: the start may have been wrong
FRESH = 0.5  # share of a frame's information that is news after the frame before it
TURNED = np.deg2rad(5)  # by which the base may turn without a word

Pictures = Callable[[], Iterable[np.ndarray]]
Progress = Callable[[str, int, int], None]


def sharpen_video(
    robot: Robot,
    fit: Trajectory,
    masks: Sequence[Mapping[str, np.ndarray]],
    pictures: Pictures,
    times: np.ndarray,
    *,
    progress: Progress | None = None,
) -> Trajectory:
    """Pull camera and joints of a clip's fit onto the robot's edges in the pictures; what was known stays.

    Args:
        fit: from `fit_video`. masks: that it was made from.
        pictures: gives the T frames (H,W,3) uint8, from the first one on, each time it is called; they are read twice.
        times: (T,) seconds.
        progress: called with (stage, done, total).

    Returns:
        The fit with new camera, joints, errors and overlaps; `edges` says how well edges support the outline before and
        after. Where they support it no better, or the masks contradict, all else is as it was; where the fit explains
        its masks too poorly to be near the edges, they are not looked at.

    Raises:
        FitError: pictures of another size than the masks. Whatever `pictures` raises.
    """
    say = progress or (lambda stage, done, total: None)
    clip = _Clip(robot, make_model(robot, robot.display_mesh), fit, Targets(masks, fit.camera, robot), pictures)
    if not len(clip.usable) or not (clip.free.any() or clip.camera_free):
        return fit
    if np.median(fit.iou[clip.usable]) < NEARBY:
        return fit
    some = clip.sample(SAMPLE)
    say("edges", 0, len(clip.usable))
    shown = [image for _, image in clip.read(some)]
    lens = replace(fit.camera, distortion=())
    end = sharpen(
        robot, [shown], [lens], fit.q[some], free_cameras=[clip.camera_free], free_joints=clip.free,
        free_focal="focal" in fit.solved,
    )  # fmt: skip
    del shown
    before = float(np.nanmean(end.before))
    camera = end.cameras[0]
    lost = np.mean([clip.overlap(t, fit.q[t], lens) - clip.overlap(t, q, camera) for t, q in zip(some, end.q)])
    if end.support <= BETTER * before or lost > LOST:
        return replace(fit, edges=(before, before))
    found = clip.follow(camera, some, end.q, say)
    loose = np.r_[np.full(6, clip.camera_free), "focal" in fit.solved, np.zeros(SHARED - CAMERA_PARAMETERS, bool)]
    covariance = clip.shared_covariance(found.blocks[some], loose.astype(bool))
    known, used = np.zeros((2, len(fit.q)), bool)
    used[clip.usable] = np.isfinite(found.q[clip.usable]).all(1)  # pictures may end before the masks do
    q, sigma = over_time(robot, found.q, found.blocks, used, covariance, FRESH, clip.free, known, times)
    iou, support = found.iou, float(found.support[used].mean())
    q[~used], sigma[~used] = fit.q[~used], fit.sigma[~used]
    iou[~used] = fit.iou[~used]
    deviations = np.sqrt(np.diag(covariance).clip(0))
    seen = observable(sigma, (robot.lower, robot.upper)) & fit.valid[:, None]
    sharp = replace(
        fit, camera=replace(camera, distortion=fit.camera.distortion), q=q, sigma=sigma, observable=seen, iou=iou,
        camera_sigma=deviations[:6], focal_sigma=camera.focal * float(deviations[6]), edges=(before, support),
    )  # fmt: skip
    outdated = hidden_joints(fit, clip.free)
    kept = [line for line in fit.warnings if line not in outdated]
    return replace(sharp, warnings=(*kept, *hidden_joints(sharp, clip.free), *_turn(fit.camera, camera)))


@dataclass(frozen=True)
class _Followed:
    """Joints (T,n), overlaps (T,), information (T,SHARED+n,SHARED+n) and the outline's support (T,) of every frame."""

    q: np.ndarray
    iou: np.ndarray
    blocks: np.ndarray
    support: np.ndarray


@dataclass(frozen=True)
class _Clip(ClipFit):
    """What is sharpened."""

    pictures: Pictures

    def read(self, frames: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Frame number and straightened picture of some frames."""
        return self.straight(self.pictures(), frames)

    def follow(self, camera: Camera, some: np.ndarray, settled: np.ndarray, say: Progress) -> _Followed:
        """Every frame by itself under the camera that was settled.

        A frame starts where the masks put it, moved as the nearest settled one was. Where this is not where the frames
        before lead, it starts from there as well, and what the edges support more is taken.
        """
        fit, n = self.fit, self.fit.q.shape[1]
        out = _Followed(
            np.full(fit.q.shape, np.nan), np.zeros(len(fit.q)), np.zeros((len(fit.q), SHARED + n, SHARED + n)),
            np.full(len(fit.q), -1.0),
        )  # fmt: skip
        shift = settled - fit.q[some]
        pivot = self.pivot(camera, settled)
        lens, reach = view_of(camera), NEAR[-1] * camera.width / 640

        def aligned(t: int, image: np.ndarray, start: np.ndarray) -> None:
            q = align_edges(
                self.robot, [[image]], [camera], self.robot.clip(start)[None], free_cameras=[False],
                free_joints=self.free, model=self.model, reaches=NEAR,
            ).q[0]  # fmt: skip
            e, support = pull(self.model, q, lens, Edges.of(image), reach, pivot)
            if support > out.support[t]:
                out.q[t], out.support[t], out.blocks[t], out.iou[t] = q, support, e.H, self.overlap(t, q, camera)

        def by_masks(job: tuple[int, np.ndarray]) -> None:
            t, image = job
            aligned(t, image, fit.q[t] + shift[int(np.abs(some - t).argmin())])

        def finish(batch: list[tuple[int, np.ndarray]]) -> None:
            parallel(by_masks, batch)
            for t, image in batch:
                if t < 2 or not np.isfinite(out.q[t - 2 : t]).all():
                    continue
                ahead = 2 * out.q[t - 1] - out.q[t - 2]
                if (np.abs(ahead - out.q[t])[self.robot.arm_joints] > ASTRAY).any():
                    aligned(t, image, ahead)

        batch: list[tuple[int, np.ndarray]] = []
        for done, job in enumerate(self.read(self.usable)):
            batch.append(job)
            if len(batch) == BATCH:
                finish(batch)
                batch = []
                say("edges", done + 1, len(self.usable))
        finish(batch)
        say("edges", len(self.usable), len(self.usable))
        return out


def _turn(before: Camera, after: Camera) -> list[str]:
    """A line where the base was turned under the arm."""
    a, b = np.linalg.inv(before.T_cam_base), np.linalg.inv(after.T_cam_base)
    R = b[:3, :3] @ a[:3, :3].T
    angle = float(np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1]))
    if abs(angle) < TURNED:
        return []
    return [f"edges in the pictures turned the base by {np.rad2deg(angle):.0f} degrees from what masks said"]
