"""From the masks of a clip to the camera, the joints of every frame, and what is known of their errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose import suspicion
from pose.bundle import Solution
from pose.camera import Camera
from pose.errors import FitError
from pose.hidden import hidden_pixels, without, wrong_in_first
from pose.hypotheses import Hypothesis, KeyFrames, Report, camera_turn, find, mistakable, settled
from pose.kernel import make_model
from pose.keyframes import choose, pyramids, scan
from pose.over_time import liveliness, over_time
from pose.priors import PosePrior
from pose.problem import Problem, prepare
from pose.settle import Shared, follow, polish, share
from pose.solver import SHARED, View
from pose.sweep import Progress, sweep_clip
from pose.timing import Timing, align
from pose.tracking import FINE, PYRAMID, Tracker
from pose.trajectory import Trajectory, hidden_joints
from pose.twins import last_joints, likely_turns, twin_deviations
from pose.uncertainty import observable, prior_information
from pose.whereabouts import look_around, wide_deviations
from urdf import Robot

Begin = Callable[[KeyFrames, np.random.Generator, Report], tuple[Solution, list[Hypothesis]]]
KEY_FRAMES = 8
SEARCH_FACES = 700
FINE_FACES = 10_000
REPEATS = 3  # of a fit in which hidden pixels are not believed, at most
ALIKE = 0.9  # overlap of what was taken for hidden and what then is: enough


def fit_video(
    robot: Robot,
    masks: Sequence[Mapping[str, np.ndarray]],
    *,
    camera: Camera | None = None,
    q: np.ndarray | None = None,
    q0: np.ndarray | None = None,
    solve: Sequence[str] | None = None,
    times: np.ndarray | None = None,
    fps: float = 30.0,
    q_times: np.ndarray | None = None,
    pose_prior: PosePrior | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> Trajectory:
    """Fit a robot to the masks of a clip.

    What is not given is solved for; what is given is believed, unless `solve` names it: then it is a start.

    Args:
        robot: from `urdf.load_robot`.
        masks: T mappings from part (robot, arm, gripper) or link name to (H,W) masks of what is visible of it, read
            one at a time: uint8 0/255, bool, or float probabilities in 0..1.
        camera: K and, where known, T_cam_base; None: centred principal point, focal length and pose unknown.
        q: (T,n) joint values (rad, m) in the order of robot.joint_names; a column with NaN is solved for.
        q0: (n,) joints of the first frame, from which the others are tracked.
        solve: any of camera, joints, gripper, focal, time; by default what was not given. `time` is by how many
            seconds the clock of the joints is ahead of the pictures' (`Trajectory.time_offset`).
        times: (T,) seconds; by default frame / fps.
        q_times: (M,) seconds of the rows of q (M,n), when they are not those of the frames.
        pose_prior: where the camera is believed to be; it is solved for, from there.
        progress: called with (stage, done, total).
        seed: of the random search.

    Returns:
        The trajectory; frames without a robot have NaN joints and valid False.

    Raises:
        FitError: no usable mask, sizes or counts that do not match, or no pose that covers the masks.
    """
    problem = prepare(robot, masks, camera, q, q0, solve, times, fps, q_times, pose_prior)
    return fit_problem(problem, find, progress, seed)


def fit_problem(problem: Problem, begin: Begin, progress: Progress | None, seed: int) -> Trajectory:
    """Fit what a problem leaves unknown; `begin` finds the camera, and the joints of a few frames.

    Raises:
        FitError: no usable mask, or no pose that covers the masks.
    """
    say = progress or (lambda stage, done, total: None)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage], clock = now - clock, now

    rng = np.random.default_rng(seed)
    robot = problem.robot
    thumbnails = scan(problem.targets, say)
    seen = np.array([thumb is not None for thumb in thumbnails])
    if not seen.any():
        raise FitError("no frame's mask shows a robot (every mask is empty or only specks)")
    lap("scan")
    # the boundary's last pixel needs a finer mesh than finding the robot does
    meshes = (robot, robot, robot.with_mesh_faces(FINE_FACES), robot.with_mesh_faces(SEARCH_FACES))
    *finer, search_model = (make_model(one, labels=problem.targets.labels) for one in meshes)
    models = tuple(finer)
    levels = tuple(problem.targets.level(level) for level in PYRAMID)
    limits = robot.lower, robot.upper
    warnings: list[str] = []
    keys = choose(thumbnails, KEY_FRAMES)
    key = _keys(problem, keys, models, search_model, levels, limits)
    found = _Found(problem.camera, None, ())
    if problem.camera_free or problem.focal_free or (problem.free.any() and problem.q is None):
        found = found.then(problem, *begin(key, rng, lambda done, total: say("camera", done, total)))
        lap("camera")
    tracker = Tracker(
        models, search_model, problem.targets.channels, _views(problem, found.camera), levels, problem.free, limits,
        robot.rest,
    )  # fmt: skip
    if problem.known and not problem.camera_free:
        assert problem.q is not None
        tracker = without(tracker, wrong_in_first(problem.q[0], problem.targets, tracker))
    timing: Timing | None = None
    if problem.log is not None:
        free_camera = np.r_[np.full(6, problem.camera_free), problem.focal_free]
        timing = align(problem.targets, tracker, seen, problem.log, problem.times, free_camera)
        found = replace(found, camera=problem.targets.camera(found.camera, timing.view))
        tracker = replace(tracker, views=_views(problem, found.camera))
        problem = problem.shifted(timing.offset)
    frames = sweep_clip(problem, tracker, found.anchors(keys), seen, rng, say)
    hides = False
    if problem.free.any() or problem.camera_free:
        found, tracker, frames, hides = _look_past(problem, key, keys, found, tracker, frames, seen, rng, say)
    lap("track")
    free_camera = np.r_[np.full(6, problem.camera_free), problem.focal_free]
    polished, used = polish(problem.targets, tracker, frames, free_camera, problem.known, problem.near)
    camera_found = problem.targets.camera(found.camera, polished.view)
    unit = liveliness(robot)
    frames = follow(problem.targets, tracker, frames, camera_found, polished, problem.known, unit, say)
    shared = share(problem.targets, tracker, frames, used, polished, free_camera, problem.known, problem.near)
    lap("polish")
    offset = float(polished.view.offset[0]) * max(problem.targets.full) / 640
    astray = _astray(problem, tracker, frames, used, polished.view, shared)
    trajectory = _finish(problem, frames, problem.targets.outer(camera_found), shared, astray, limits, offset)
    if timing is not None:
        trajectory = replace(trajectory, time_offset=timing.offset, time_sigma=timing.sigma)
        if not timing.observable:
            warnings.append(
                f"the joints' clock cannot be told from this clip (to {timing.sigma:.2f} s): it hardly moves"
            )
    lap("smooth")
    warnings += _warnings(problem, trajectory)
    if hides:
        warnings.append(
            "something that stands still before the robot hides a part of it: masks are not believed there, "
            "and joints that only show there stay unsure"
        )
    reached = float(np.median(trajectory.iou[seen]))
    all_known = not (problem.camera_free or problem.free.any())
    warnings += suspicion.explanation(reached, all_known)
    if problem.q is not None:
        warnings += suspicion.joints(robot, problem.q, problem.free, problem.known)
        if not problem.free[robot.arm_joints].any():
            at = replace(tracker, views=_views(problem, camera_found))
            warnings += suspicion.order(robot, search_model, problem.targets, at, used, problem.q, reached)
    if problem.camera_free:
        if problem.stands:
            warnings += suspicion.upside_down(camera_found.T_cam_base)
        if not problem.focal_free:
            warnings += suspicion.focal(problem.targets, tracker, used, polished, problem.free)
    lap("checks")
    return replace(trajectory, warnings=tuple(warnings), seconds=seconds, alternatives=found.alternatives)


@dataclass(frozen=True)
class _Found:
    """The camera so far, the solution of the key frames it comes from, and what that beat."""

    camera: Camera
    solution: Solution | None
    alternatives: tuple[dict, ...]

    def then(self, problem: Problem, solution: Solution, others: list[Hypothesis]) -> _Found:
        camera = problem.targets.camera(self.camera, solution.view)
        return _Found(camera, solution, tuple(_describe(others, solution)))

    def anchors(self, keys: list[int]) -> dict[int, np.ndarray]:
        """Joints (n,) of the key frames."""
        return {} if self.solution is None else {t: self.solution.q[i] for i, t in enumerate(keys)}


def _views(problem: Problem, camera: Camera) -> tuple[View, ...]:
    return tuple(problem.targets.view(camera, level.width) for level in PYRAMID)


def _look_past(
    problem: Problem, key: KeyFrames, keys: list[int], found: _Found, tracker: Tracker, frames, seen, rng, say
):
    """The fit without the pixels where something hides the robot, and whether there are any."""
    believing = tracker
    hidden = hidden_pixels(problem.targets, tracker, frames)
    for _ in range(REPEATS):
        if hidden is None:
            break
        tracker, before = without(believing, hidden), hidden
        if found.solution is not None:
            q = found.solution.q
            joints = np.stack([q[i] if (f := frames[t]) is None else f.q for i, t in enumerate(keys)])
            found = found.then(problem, *settled(replace(key, trust=tracker.trust), found.solution, joints))
            views = _views(problem, found.camera)
            tracker, believing = replace(tracker, views=views), replace(believing, views=views)
        frames = sweep_clip(problem, tracker, found.anchors(keys), seen, rng, say)
        hidden = hidden_pixels(problem.targets, tracker, frames)
        if hidden is None or (hidden & before).sum() > ALIKE * (hidden | before).sum():
            break
    return found, believing if hidden is None else without(believing, hidden), frames, hidden is not None


def _keys(problem: Problem, keys: list[int], models, search_model, levels, limits) -> KeyFrames:
    pose = np.eye(4) if problem.camera.T_cam_base is None else problem.camera.T_cam_base
    camera = replace(problem.camera, T_cam_base=pose)
    K = tuple(problem.targets.view(camera, level.width).K for level in PYRAMID)
    q = None
    if problem.q is not None:
        q = np.where(np.isfinite(problem.q[keys]), problem.q[keys], problem.robot.rest)
    return KeyFrames(
        models, search_model, problem.targets.channels, levels, pyramids(problem.targets, keys), K,
        not problem.focal_free, problem.camera.T_cam_base, problem.camera_free, q, problem.free, limits,
        problem.robot.rest, mistakable(problem.robot), problem.near,
    )  # fmt: skip


def _astray(
    problem: Problem, tracker: Tracker, frames, used: list[int], view: View, shared: Shared
) -> Callable[[np.ndarray], np.ndarray]:
    """Standard deviations (T,n) with what they leave out: that joints elsewhere explain the masks as well."""
    robot, shape = problem.robot, (len(frames), len(problem.robot.rest))
    twin, wide = np.zeros(shape[1]), np.zeros(shape)
    given = None if problem.q is None else np.delete(problem.q, problem.known, 0)[:, problem.free]
    if given is None or not np.isfinite(given).any():
        some = used[::2]
        ranges = {
            k: look_around(problem.targets, tracker, frames, some, k, fine=True, view=view, known=problem.known)
            for k in last_joints(robot)
            if tracker.free[k]
        }
        wide = wide_deviations(ranges, some, shared.told_by(2), shape)
        if not problem.known:
            turns = likely_turns(tracker, frames, ranges, mistakable(robot))
            twin = twin_deviations(problem.targets, tracker, frames, used, view, turns, shared)
    return lambda sigma: np.maximum(np.hypot(sigma, twin), wide)


def _finish(problem: Problem, frames, camera: Camera, shared: Shared, astray, limits, offset: float) -> Trajectory:
    """Smooth the joints over time and state their errors."""
    robot, count, joints = problem.robot, len(frames), len(problem.robot.joint_names)
    q, iou = np.full((count, joints), np.nan), np.zeros(count)
    blocks = np.zeros((count, SHARED + joints, SHARED + joints))
    for t, frame in enumerate(frames):
        if frame is not None:
            q[t], iou[t] = frame.q, frame.iou
            blocks[t] = shared.information(frame, problem.targets.read(t, FINE.width))
    usual = float(np.median(iou[iou > 0])) if (iou > 0).any() else 0.0
    explained = iou > max(0.3, 0.75 * usual)
    known = np.isin(np.arange(count), problem.known)
    q, sigma = over_time(
        robot, q, blocks, explained, shared.covariance, shared.fresh, problem.free, known, problem.times
    )
    valley = np.ones((count, joints)) if shared.valley is None else shared.valley
    widest = 1 / np.sqrt(prior_information(limits))
    sigma = np.minimum(astray(sigma / np.sqrt(valley)), widest)
    valid = np.isfinite(q).all(1) & explained
    deviations = np.sqrt(np.diag(shared.covariance).clip(0))
    return Trajectory(
        robot.joint_names, q, sigma, observable(sigma, limits) & valid[:, None], iou, valid, camera,
        deviations[:6], camera.focal * float(deviations[6]), offset, problem.solved,
    )  # fmt: skip


def _describe(others: list[Hypothesis], solution: Solution) -> list[dict]:
    """Hypotheses that explain the masks within 0.03 of IoU but say something else, no two the same, best first."""
    out: list[dict] = []
    best = float(solution.iou.mean())
    told = [(solution.view.T_cam_base, solution.q)]
    for h in sorted(others, key=lambda h: -h.score):
        apart = [(np.rad2deg(camera_turn(h.T, T)), np.rad2deg(_turned(h.q - q).max())) for T, q in told]
        if h.score > best - 0.03 and all(turn > 5 or joints > 15 for turn, joints in apart):
            turn = apart[0][0]
            told.append((h.T, h.q))
            out.append({"iou": round(h.score, 4), "camera_turned_deg": round(float(turn), 1), "q": h.q[0].tolist(),
                        "T_cam_base": h.T.tolist()})  # fmt: skip
    return out


def _turned(difference: np.ndarray) -> np.ndarray:
    """Size of differences of joints, whole turns left out (slides never come near one)."""
    return np.abs((difference + np.pi) % (2 * np.pi) - np.pi)


def _warnings(problem: Problem, trajectory: Trajectory) -> list[str]:
    out = []
    missing = int((~np.isfinite(trajectory.q).all(1)).sum())
    bad = int((~trajectory.valid).sum()) - missing
    if missing:
        out.append(f"{missing} of {len(trajectory.q)} frames show no robot: their joints are NaN")
    if bad:
        out.append(f"{bad} frames are not explained by the fit (IoU far below the rest): flagged invalid")
    return out + hidden_joints(trajectory, problem.free)
