"""From the masks of a clip to the camera, the joints of every frame, and what is known of their errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from pose import suspicion
from pose.branches import other_branches
from pose.bundle import Solution
from pose.camera import Camera
from pose.errors import FitError
from pose.hypotheses import Hypothesis, KeyFrames, camera_turn, find, mistakable
from pose.kernel import coverage, make_model, see
from pose.keyframes import choose, pyramids, scan
from pose.mending import mend
from pose.over_time import liveliness, over_time
from pose.priors import PosePrior
from pose.problem import Problem, prepare
from pose.settle import Shared, follow, polish, share
from pose.solver import SHARED
from pose.targets import shrink
from pose.timing import Timing, align
from pose.tracking import FINE, MIDDLE, PYRAMID, Frame, Near, Tracker
from pose.trajectory import Trajectory, hidden_joints
from pose.uncertainty import observable
from urdf import Robot

Progress = Callable[[str, int, int], None]
KEY_FRAMES = 8
SEARCH_FACES = 700
FINE_FACES = 10_000
LEAP = 0.04  # of IoU that a pose must gain for which the arm would have moved faster than it can
USUAL_SPEED = 3.0  # rad/s, m/s; where the description states none
DEAR = 1.6  # times the usual cost: a frame is searched again
START_SPREAD = 0.5  # rad: how far a given start may be from the truth
FOLLOW_SPREAD = 0.25  # rad: how far joints may move from one frame to the next


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
    say = progress or (lambda stage, done, total: None)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage], clock = now - clock, now

    rng = np.random.default_rng(seed)
    problem = prepare(robot, masks, camera, q, q0, solve, times, fps, q_times, pose_prior)
    thumbnails = scan(problem.targets, say)
    seen = np.array([thumb is not None for thumb in thumbnails])
    if not seen.any():
        raise FitError("no frame's mask shows a robot (every mask is empty or only specks)")
    lap("scan")
    # the boundary's last pixel needs a finer mesh than finding the robot does
    meshes = (robot, robot, robot.with_mesh_faces(FINE_FACES), robot.with_mesh_faces(SEARCH_FACES))
    *finer, search_model = (make_model(one, labels=problem.targets.labels) for one in meshes)
    models = tuple(finer)
    limits = robot.lower, robot.upper
    warnings: list[str] = []
    alternatives: list[dict] = []
    camera_found = problem.camera
    keys = choose(thumbnails, KEY_FRAMES)
    key = _keys(problem, keys, models, search_model, limits)
    solution: Solution | None = None
    if problem.camera_free or problem.focal_free or (problem.free.any() and problem.q is None):
        solution, others = find(key, rng, lambda done, total: say("camera", done, total))
        camera_found = problem.targets.camera(problem.camera, solution.view)
        alternatives = _describe(others, solution)
        lap("camera")
    views = tuple(problem.targets.view(camera_found, level.width) for level in PYRAMID)
    tracker = Tracker(
        models, search_model, problem.targets.channels, views, PYRAMID, problem.free, limits, robot.rest
    )  # fmt: skip
    if q0 is not None and not problem.camera_free:
        tracker = replace(tracker, trust=_trust(problem, tracker))
    timing: Timing | None = None
    if problem.log is not None:
        free_camera = np.r_[np.full(6, problem.camera_free), problem.focal_free]
        timing = align(problem.targets, tracker, seen, problem.log, problem.times, free_camera)
        camera_found = problem.targets.camera(camera_found, timing.view)
        views = tuple(problem.targets.view(camera_found, level.width) for level in PYRAMID)
        tracker = replace(tracker, views=views)
        problem = problem.shifted(timing.offset)
    anchors = {} if solution is None else {keys[i]: solution.q[i] for i in range(len(keys))}
    frames = _track(problem, tracker, anchors, seen, rng, say)
    if problem.q is None:
        unit = liveliness(robot)
        frames = other_branches(
            problem.targets, tracker, frames, robot.arm_joints, lambda q: Near(q, FOLLOW_SPREAD * unit), rng
        )  # fmt: skip
        frames = mend(problem.targets, tracker, frames, rng)
    lap("track")
    free_camera = np.r_[np.full(6, problem.camera_free), problem.focal_free]
    polished, used = polish(problem.targets, tracker, frames, free_camera, problem.known, problem.near)
    camera_found = problem.targets.camera(camera_found, polished.view)
    frames = follow(problem.targets, tracker, frames, camera_found, polished, problem.known, say)
    shared = share(problem.targets, tracker, frames, used, polished, free_camera, problem.known, problem.near)
    lap("polish")
    offset = float(polished.view.offset[0]) * max(problem.targets.width, problem.targets.height) / 640
    trajectory = _finish(problem, frames, camera_found, shared, limits, offset)
    if timing is not None:
        trajectory = replace(trajectory, time_offset=timing.offset, time_sigma=timing.sigma)
        if not timing.observable:
            warnings.append(
                f"the joints' clock cannot be told from this clip (to {timing.sigma:.2f} s): it hardly moves"
            )
    lap("smooth")
    warnings += _warnings(problem, trajectory)
    reached = float(np.median(trajectory.iou[seen]))
    all_known = not (problem.camera_free or problem.free.any())
    warnings += suspicion.explanation(reached, all_known)
    if problem.q is not None:
        warnings += suspicion.joints(robot, problem.q, problem.free)
        if not problem.free[robot.arm_joints].any():
            at = replace(tracker, views=tuple(problem.targets.view(camera_found, level.width) for level in PYRAMID))
            warnings += suspicion.order(robot, search_model, problem.targets, at, used, problem.q, reached)
    if problem.camera_free:
        warnings += suspicion.upside_down(camera_found.T_cam_base)
        if not problem.focal_free:
            warnings += suspicion.focal(problem.targets, tracker, used, polished, problem.free)
    lap("checks")
    return replace(trajectory, warnings=tuple(warnings), seconds=seconds, alternatives=tuple(alternatives))


def _keys(problem: Problem, keys: list[int], models, search_model, limits) -> KeyFrames:
    pose = np.eye(4) if problem.camera.T_cam_base is None else problem.camera.T_cam_base
    camera = replace(problem.camera, T_cam_base=pose)
    K = tuple(problem.targets.view(camera, level.width).K for level in PYRAMID)
    q = None
    if problem.q is not None:
        q = np.where(np.isfinite(problem.q[keys]), problem.q[keys], problem.robot.rest)
    return KeyFrames(
        models, search_model, problem.targets.channels, PYRAMID, pyramids(problem.targets, keys), K,
        not problem.focal_free, problem.camera.T_cam_base, problem.camera_free, q, problem.free, limits,
        problem.robot.rest, mistakable(problem.robot), problem.near,
    )  # fmt: skip


def _trust(problem: Problem, tracker: Tracker) -> tuple[np.ndarray, ...]:
    """How far the masks can be believed, for each level: the joints of the first frame are known, the camera stands.

    Where the first frame's mask is wrong, the masks of the other frames are likely wrong too: a chair that passes for a
    link, a link that is covered. Such pixels count for little in every frame.
    """
    assert problem.q is not None
    target = problem.targets.read(0, FINE.width)
    view, model = tracker.views[-1], tracker.models[-1]
    face_id, _, _ = see(model, problem.q[0], view.T_cam_base, view.K, view.height, view.width, 2)
    wrong = np.abs(target - coverage(face_id, model.face_part, tracker.channels, 2))[0] / tracker.channels[0].max()
    trust = 1 - cv2.GaussianBlur(wrong, (0, 0), FINE.blur)
    return (*(shrink(trust[None], level)[0] for level in PYRAMID[:-1]), trust)


def _track(problem: Problem, tracker: Tracker, anchors: dict[int, np.ndarray], seen, rng, say: Progress):
    """Fit every frame, outward in time from the frames whose joints are known."""
    count = len(problem.targets)
    frames: list[Frame | None] = [None] * count
    targets, robot = problem.targets, problem.robot
    unit = liveliness(robot)
    done = 0
    least, most = 1.0, 0.0  # IoU and cost at which searching again has brought nothing

    def given(t: int) -> np.ndarray | None:
        if problem.q is not None and np.isfinite(problem.q[t]).all():
            return problem.q[t]
        return None

    speed = np.where(np.isfinite(robot.velocity), robot.velocity, USUAL_SPEED)[robot.arm_joints]
    step = float(np.median(np.diff(problem.times))) if count > 1 else 1.0

    def leaps(before: np.ndarray, after: np.ndarray) -> bool:
        """Whether the arm would have to move faster than it can."""
        return bool((np.abs(after - before)[robot.arm_joints] > 2 * speed * step + 0.1).any())

    def visit(t: int, previous: list[np.ndarray]) -> np.ndarray | None:
        nonlocal done, least, most
        done += 1
        say("track", done, count)
        if not seen[t]:
            return None
        target = targets.read(t, FINE.width)
        own, anchor = given(t), anchors.get(t)
        previous = [problem.given(t, q) for q in previous]
        starts = [q for q in (own, *previous, anchor) if q is not None]
        if t in problem.known or not problem.free.any():
            assert own is not None
            frames[t] = _looked_at(tracker, own, target)
            return own
        if not starts:
            starts = tracker.search(problem.given(t, tracker.rest), target, rng, 0.8)
        # the pull settles what the masks leave open: a key frame that was solved alone may have its wrist turned round
        near = Near(previous[0], FOLLOW_SPREAD * unit) if previous else None
        if own is not None:
            near = Near(own, START_SPREAD * unit)
        usual, price = _usual(frames)
        q, overlap = tracker.fit(starts, target, near, 0.97 * usual if usual and anchor is None else 1.0)
        cost = tracker.cost(q, shrink(target, MIDDLE))
        if not usual or overlap < min(0.95 * usual, least) or cost > max(DEAR * price, most):
            again = tracker.search(q, target, rng, 0.3) + tracker.search(starts[0], target, rng, 0.4)
            other, value = tracker.fit(again, target, near)
            if value > overlap + (LEAP if previous and leaps(previous[0], other) else 0.0):
                q = other
            else:  # such masks are as well explained as they can be: do not search at each of their kind
                least, most = min(least, overlap), max(most, cost)
        frames[t] = _looked_at(tracker, q, target)
        return q

    def sweep(order: range, previous: list[np.ndarray]) -> None:
        for t in order:
            q = visit(t, previous)
            if q is None:
                continue
            # the next frame starts where this one ended, or where its motion leads
            ahead = [robot.clip(2 * q - previous[0])] if previous else []
            previous = [q, *ahead]

    begin = next((t for t in range(count) if seen[t] and given(t) is not None), None)
    if begin is None:
        begin = max(anchors, key=lambda t: tracker.overlap(anchors[t], targets.read(t, MIDDLE.width)), default=0)
    sweep(range(begin, count), [])
    first = frames[begin]
    sweep(range(begin - 1, -1, -1), [] if first is None else [first.q])
    return frames


def _looked_at(tracker: Tracker, q: np.ndarray, target: np.ndarray) -> Frame:
    small = shrink(target, MIDDLE)
    return Frame(q, tracker.overlap(q, small), tracker.cost(q, small))


def _usual(frames: list[Frame | None]) -> tuple[float, float]:
    """Median IoU and cost of the frames so far; zeros when there are none."""
    known = [f for f in frames if f is not None]
    if not known:
        return 0.0, 0.0
    return float(np.median([f.iou for f in known])), float(np.median([f.cost for f in known]))


def _finish(problem: Problem, frames, camera: Camera, shared: Shared, limits, offset: float) -> Trajectory:
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
