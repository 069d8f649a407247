"""A clip's fit by masks, refined by depth pictures.

A mask tells where the robot ends, to a pixel or two, and hardly how far away it is; depth tells how far every point of
its surface is. Both are used together: camera and joints of some frames settle on them, then every frame by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np

from pose.camera import Camera
from pose.clip_fit import ClipFit
from pose.depth import DEPTH_SHARED, likeness, per_patch
from pose.depth_errors import borne_out
from pose.depth_frames import DepthFrame, Depths, DepthSource, sized
from pose.depth_solver import PLAY, REACH, DepthSolver, DepthState, Kept, belief, nearness
from pose.depth_units import LEAST, depth_ratio, unit_of
from pose.edges import view_of
from pose.kernel import make_model
from pose.over_time import over_time
from pose.settle import news
from pose.solver import parallel
from pose.targets import Targets
from pose.trajectory import Trajectory, hidden_joints
from pose.uncertainty import joint_scale, observable
from urdf import Robot

SAMPLE = 20  # frames that settle the camera
CHECKED = 6  # frames that tell the unit
BATCH = 8  # frames that are read before they are aligned
NEAR = (0.025, 0.015, 0.015, 0.015)  # once the camera is settled
LOST = 0.05  # of the masks' overlap that may be lost
FRESH = 0.5  # share of a frame's information that is news after the frame before it, at most
GUESS = 0.3  # rad: a joint that masks tell no better is a guess

Progress = Callable[[str, int, int], None]


def align_depth(
    robot: Robot,
    fit: Trajectory,
    masks: Sequence[Mapping[str, np.ndarray]],
    depth: Depths,
    times: np.ndarray,
    *,
    pictures: Depths | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Pull camera and joints of a clip's fit onto the surface that depth pictures show; what was known stays.

    Args:
        fit: from `fit_video` or `sharpen_video`. masks: that it was made from.
        depth: gives the T depth pictures (H,W) in metres along z, 0 where unknown, aligned with the masks' camera,
            from the first one on, each time it is called; they are read three times.
        times: (T,) seconds.
        pictures: the T frames (H,W,3) uint8, likewise; where their edges sharpened the fit, edges hold the outline, not
            the masks.
        progress: called with (stage, done, total).

    Returns:
        The fit with new camera, joints, errors and overlaps; `depth_gap` says how far the surface was from the depth
        before and after. Depth in another unit is told by the robot's size, said in a warning and taken as what it is;
        depth that cannot be right is left out, with a warning. All else is then as it was.

    Raises:
        FitError: depth of another size than the masks. Whatever `depth` raises.
    """
    say = progress or (lambda stage, done, total: None)
    targets = Targets(masks, fit.camera, robot)
    clip = ClipFit(robot, make_model(robot, robot.display_mesh, targets.labels), fit, targets)
    if not len(clip.usable) or not (clip.free.any() or clip.camera_free):
        return fit
    factor, line = _unit(clip, depth)
    warnings = fit.warnings if not line else (*fit.warnings, line)
    if factor is None:
        return replace(fit, warnings=warnings)
    some = clip.sample(SAMPLE)
    say("depth", 0, len(clip.usable))
    sharp = pictures is not None and fit.edges is not None and fit.edges[1] > fit.edges[0]
    source = DepthSource(clip, depth, factor, pictures if sharp else None)
    frames = source.frames(some)
    start = DepthState(view_of(replace(fit.camera, distortion=())), fit.q[[f.number for f in frames]])
    clip_free = np.r_[np.full(6, clip.camera_free), "focal" in fit.solved, True, True, True].astype(bool)
    solver = DepthSolver(clip, clip_free)
    state, noise = solver.settle(start, frames, REACH, None)
    before, after = solver.gap(start, frames), solver.gap(state, frames)
    camera = replace(fit.camera, K=state.view.K, T_cam_base=state.view.T_cam_base)
    lens = replace(camera, distortion=())
    lost = np.mean([
        clip.overlap(f.number, fit.q[f.number], replace(fit.camera, distortion=())) - clip.overlap(f.number, q, lens)
        for f, q in zip(frames, state.q)
    ])  # fmt: skip
    if not after < before or lost > LOST:
        return replace(fit, depth_gap=(before, before), warnings=warnings)
    settled = np.array([f.number for f in frames])
    near = nearness(state, clip.pivot(lens, state.q))
    wide, variance = max(REACH[-1], PLAY * noise / near**2), noise**2 * per_patch(lens.width)
    kept = borne_out(solver, state, frames, wide, variance)
    lasting = likeness(solver.patches(state, frames, wide))
    del frames
    q, blocks, iou, fresh = _follow(solver, source, state, settled, noise, kept, lens, say)
    used = np.isfinite(q).all(1)  # depth may end before the masks do
    covariance = clip.shared_covariance(blocks[settled[used[settled]]] + belief(len(settled), q.shape[1]), clip_free)
    covariance = covariance / news(lasting)
    q, sigma = over_time(robot, q, blocks, used, covariance, fresh, clip.free, np.zeros(len(q), bool), times)
    # around a guess the cost has many valleys, and how steep one is tells nothing of the truth
    sigma = np.where(fit.sigma > GUESS * joint_scale((robot.lower, robot.upper)), np.fmax(sigma, fit.sigma), sigma)
    q[~used], sigma[~used], iou[~used] = fit.q[~used], fit.sigma[~used], fit.iou[~used]
    deviations = np.sqrt(np.diag(covariance).clip(0))
    seen = observable(sigma, (robot.lower, robot.upper)) & fit.valid[:, None]
    out = replace(
        fit, camera=camera, q=q, sigma=sigma, observable=seen, iou=iou, camera_sigma=deviations[:6],
        focal_sigma=camera.focal * float(deviations[6]), depth_gap=(before, after),
    )  # fmt: skip
    outdated = hidden_joints(fit, clip.free)
    current = [text for text in warnings if text not in outdated]
    return replace(out, warnings=(*current, *hidden_joints(out, clip.free)))


def _unit(clip: ClipFit, depth: Depths) -> tuple[float | None, str]:
    """What to multiply depth by (None: leave it out), and what to say."""
    camera = replace(clip.fit.camera, distortion=())
    some = clip.sample(CHECKED)
    looks = ((clip.fit.q[t], image) for t, image in clip.straight(sized(depth(), camera), some, cv2.INTER_NEAREST))
    ratio, pixels = depth_ratio(clip.model, camera, looks)
    if pixels < LEAST:
        return None, "depth was not used: it sees too little of the robot"
    if "focal" in clip.fit.solved:  # masks alone tell distance and focal length less well than their ratio
        unit = unit_of(ratio) or (1.0 if 0.7 < ratio < 1.4 else None)
    else:
        unit = unit_of(ratio)
    if unit is None:
        return None, f"depth was not used: it is {ratio:.3g} times what the robot's size says, which is no unit known"
    if unit == 1.0:
        return 1.0, ""
    return (
        1 / unit,
        f"depth was {ratio:.3g} times what the robot's size says: taken as {1 / unit:g} times what was given",
    )


def _follow(
    solver: DepthSolver, source: DepthSource, state: DepthState, settled: np.ndarray, noise: float, kept: Kept,
    lens: Camera, say: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:  # fmt: skip
    """Joints (T,n), information (T,C+n,C+n) and overlaps (T,) of every frame by itself, and how much news one is."""
    clip = solver.clip
    fit, n = clip.fit, clip.fit.q.shape[1]
    q, iou = np.full(fit.q.shape, np.nan), np.zeros(len(fit.q))
    blocks = np.zeros((len(fit.q), DEPTH_SHARED + n, DEPTH_SHARED + n))
    shift, held = state.q - fit.q[settled], replace(solver, free=np.zeros(DEPTH_SHARED, bool))
    pivot = clip.pivot(lens, state.q)
    wide, variance = max(NEAR[-1], PLAY * noise / nearness(state, pivot) ** 2), noise**2 * per_patch(state.view.width)

    def one(frame: DepthFrame) -> None:
        t = frame.number
        begin = clip.robot.clip(fit.q[t] + shift[int(np.abs(settled - t).argmin())])
        end = replace(state, q=begin[None])
        if clip.free.any():
            end, _ = held.settle(end, [frame], NEAR, noise)
        blocks[t] = solver.equations(end, (0, frame), pivot, wide, variance, kept)[0]
        wrong[t] = solver.patches(end, [frame], wide)[0]
        q[t], iou[t] = end.q[0], clip.overlap(t, end.q[0], lens)

    wrong: dict[int, np.ndarray] = {}
    alike: list[float] = []
    batch: list[DepthFrame] = []

    def finish() -> None:
        parallel(one, batch)
        batch.clear()
        numbers = sorted(wrong)
        alike.extend(likeness([wrong[a], wrong[b]]) for a, b in pairwise(numbers) if b == a + 1)
        for t in numbers[:-1]:  # the last one meets the next batch
            del wrong[t]

    total = len(clip.usable)
    for done, frame in enumerate(source.stream(clip.usable)):
        batch.append(frame)
        if len(batch) == BATCH or done == total - 1:
            finish()
            say("depth", done + 1, total)
    finish()
    return q, blocks, iou, min(FRESH, news(float(np.mean(alike)) if alike else 0.0))
