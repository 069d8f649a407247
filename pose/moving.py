"""A camera that moves while it looks at a robot: its pose in every frame, smooth over time, and the joints.

What stands is the robot's base. One frame tells pose and joints together less well than many frames tell one pose, so
poses are tied by an even motion: how strongly, `unrest` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from pose.bundle import LENS, Bundle, Free, Look, State, assemble, look_at, pivot_points, settle
from pose.camera import Camera
from pose.errors import FitError
from pose.hypotheses import KeyFrames, find, mistakable
from pose.kernel import make_model
from pose.keyframes import pyramids, scan
from pose.priors import TWIST, PosePrior, Priors, Steady
from pose.solver import CHANNELS, View
from pose.targets import Targets, shrink
from pose.tracking import FINE, MIDDLE, PYRAMID
from pose.uncertainty import joint_scale, marginal, misfit, observable, prior_information
from urdf import Robot

Progress = Callable[[str, int, int], None]
FINE_FACES, SEARCH_FACES = 10_000, 700
WINDOW, OVERLAP = 48, 12  # frames refined together; of them already settled by the window before
START = 3  # frames in a row that are first taken as if the camera stood
STEP_TURN, STEP_PLACE, STEP_JOINT = 0.15, 0.1, 0.25  # rad, m, rad: what may happen from one frame to the next
POOR = 0.75  # of the usual IoU: a frame is not explained


@dataclass(frozen=True)
class MovingFit:
    """A camera of T poses and joints of T frames; what `Trajectory` says of them holds here.

    Attributes:
        cameras: T, each with T_cam_base; a frame without a robot has its neighbour's.
        camera_sigma: (T,6) rotation (rad) and translation (m) about the robot's middle.
        focal_sigma: pixels; 0 when K was given.
    """

    joint_names: tuple[str, ...]
    q: np.ndarray
    sigma: np.ndarray
    observable: np.ndarray
    iou: np.ndarray
    valid: np.ndarray
    cameras: tuple[Camera, ...]
    camera_sigma: np.ndarray
    focal_sigma: float
    warnings: tuple[str, ...] = field(default=())


def fit_moving(
    robot: Robot,
    masks: Sequence[Mapping[str, np.ndarray]],
    *,
    camera: Camera | None = None,
    q: np.ndarray | None = None,
    times: np.ndarray | None = None,
    fps: float = 30.0,
    unrest: tuple[float, float] = (1.0, 1.0),
    progress: Progress | None = None,
    seed: int = 0,
) -> MovingFit:
    """Fit a robot to the masks of a moving camera; the robot's base stands.

    Args:
        robot, masks, times, fps, progress, seed: as for `fit_video`.
        camera: K where known; a T_cam_base is where the camera is in the first frame that shows the robot.
        q: (T,n) joints when they are known.
        unrest: standard deviation of the camera's accelerations, rad/s^2 and m/s^2.

    Raises:
        FitError: no usable mask, sizes or counts that do not match, or no pose that covers the masks.
    """
    say = progress or (lambda stage, done, total: None)
    targets = Targets(masks, camera)
    count, n = len(targets), len(robot.joint_names)
    times = np.arange(count) / fps if times is None else np.asarray(times, float)
    if times.shape != (count,) or (np.diff(times) <= 0).any():
        raise FitError(f"times must be {count} increasing numbers of seconds")
    if q is not None and (np.shape(q) != (count, n) or not np.isfinite(q).all()):
        raise FitError(f"joints must be {count} frames x {n} finite values ({', '.join(robot.joint_names)})")
    seen = [t for t, thumb in enumerate(scan(targets, say)) if thumb is not None]
    if not seen:
        raise FitError("no frame's mask shows a robot (every mask is empty or only specks)")
    model = make_model(robot)
    problem = _Problem(
        robot, targets, (model, model, make_model(robot.with_mesh_faces(FINE_FACES))), seen, times,
        np.full(n, q is None), camera is None, unrest,
    )  # fmt: skip
    start, found, first = _begin(problem, camera, q, np.random.default_rng(seed), say)
    poses, joints = _follow(problem, found, start, first, q, say)
    poses, joints, view = _together(problem, found, poses, joints, say)
    return _state(problem, found, view, poses, joints)


@dataclass(frozen=True)
class _Problem:
    robot: Robot
    targets: Targets
    models: tuple
    seen: list[int]
    times: np.ndarray
    free: np.ndarray
    focal_free: bool
    unrest: tuple[float, float]

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        return self.robot.lower, self.robot.upper

    def pull(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is known of joints (F,n) beforehand: nearly nothing."""
        return np.tile(self.robot.rest, (len(q), 1)), np.tile(prior_information(self.limits), (len(q), 1))

    def steady(self, frames: Sequence[int]) -> tuple[Steady, ...]:
        """Even motion of poses 0..F-1, those of some frames in order."""
        return tuple(
            Steady((i, i + 1, i + 2), tuple(float(self.times[frames[i + k]]) for k in range(3)), self.unrest)  # type: ignore[arg-type]
            for i in range(len(frames) - 2)
        )


def _begin(problem: _Problem, camera: Camera | None, q, rng, say):
    """Joints (START,n), the camera, and the first of a few frames in a row in the middle of the clip."""
    robot, targets, seen = problem.robot, problem.targets, problem.seen
    given = camera
    if camera is None:
        camera = Camera.from_focal(targets.width, targets.height, 0.9 * max(targets.width, targets.height))
    known = given is not None and given.T_cam_base is not None
    at = 0 if known else max(0, min(len(seen) // 2, len(seen) - START))
    frames = seen[at : at + START]
    posed = camera if known else replace(camera, T_cam_base=np.eye(4))
    K = tuple(targets.view(posed, level.width).K for level in PYRAMID)
    key = KeyFrames(
        problem.models, make_model(robot.with_mesh_faces(SEARCH_FACES)), targets.channels, PYRAMID,
        pyramids(targets, frames), K, not problem.focal_free, posed.T_cam_base if known else None, not known,
        None if q is None else np.asarray(q, float)[frames], problem.free, problem.limits, robot.rest,
        mistakable(robot),
    )  # fmt: skip
    if known and q is not None:
        return key.q, posed, at
    solution, _ = find(key, rng, lambda done, total: say("camera", done, total))
    return solution.q, targets.camera(posed, solution.view), at


def _follow(problem: _Problem, camera: Camera, start: np.ndarray, first: int, q, say):
    """Poses (S,4,4) and joints (S,n) of the seen frames, each from the one before it, on the middle level."""
    seen, view = problem.seen, problem.targets.view(camera, MIDDLE.width)
    poses = np.tile(np.asarray(camera.T_cam_base, float), (len(seen), 1, 1))
    joints = np.tile(start[0], (len(seen), 1)) if q is None else np.asarray(q, float)[seen]
    scale = joint_scale(problem.limits)
    done = 0
    for order in (range(first, len(seen)), range(first - 1, -1, -1)):
        before = [(poses[first], joints[first] if q is not None else start[0])]
        for i in order:
            done += 1
            say("track", done, len(seen))
            T, row = before[-1]
            if q is not None:
                row = joints[i]
            starts = [(T, row)]
            if len(before) > 1:  # on, as it moved
                old_T, old = before[-2]
                ahead = _onward(old_T, T)
                starts.append((ahead, row if q is not None else problem.robot.clip(2 * row - old)))
            target = shrink(problem.targets.read(seen[i], FINE.width), MIDDLE)
            tried = [_one(problem, view, at, near, target, T, row, scale) for at, near in starts]
            best = min(tried, key=lambda end: float(end.cost.sum()))
            poses[i], joints[i] = best.state.poses[0], best.state.q[0]
            before.append((poses[i], joints[i]))
    return poses, joints


def _onward(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(4,4) the next pose, if the camera moves on as it did."""
    return now @ np.linalg.inv(before) @ now


def _one(problem: _Problem, view: View, T, row, target, near_T, near, scale) -> Bundle:
    state = State(row[None].copy(), T[None].copy(), (view,))
    priors = Priors(
        (near[None], 1 / (STEP_JOINT * scale)[None] ** 2), {0: PosePrior(near_T, STEP_TURN, STEP_PLACE)}
    )  # fmt: skip
    free = Free(np.ones((1, TWIST), bool), np.zeros((1, LENS), bool), problem.free)
    return settle(
        problem.models[1], state, [Look(target)], problem.targets.channels, MIDDLE, free, problem.limits, priors=priors,
        iterations=12,
    )  # fmt: skip


def _together(problem: _Problem, camera: Camera, poses: np.ndarray, joints: np.ndarray, say):
    """Poses, joints and the lens on the finest level, window by window."""
    seen = problem.seen
    view = problem.targets.view(camera, FINE.width)
    begins = list(range(0, max(1, len(seen) - OVERLAP), WINDOW - OVERLAP))
    for number, begin in enumerate(begins):
        say("together", number + 1, len(begins))
        some = list(range(begin, min(begin + WINDOW, len(seen))))
        state = State(joints[some], poses[some], (view,))
        looks = [Look(problem.targets.read(seen[i], FINE.width), k, 0, k) for k, i in enumerate(some)]
        settled = np.array([number > 0 and k < OVERLAP // 2 for k in range(len(some))])
        # the lens is the same for all: the first window settles it
        lens = np.r_[problem.focal_free and number == 0, np.full(CHANNELS, number == 0)][None]
        free = Free(np.repeat(~settled[:, None], TWIST, 1), lens, problem.free & ~settled[:, None])
        priors = Priors(problem.pull(state.q), {}, problem.steady([seen[i] for i in some]))
        end = settle(
            problem.models[2], state, looks, problem.targets.channels, FINE, free, problem.limits, priors=priors,
            iterations=12, tolerance=1e-3,
        )  # fmt: skip
        joints[some], poses[some], view = end.state.q, end.state.poses, end.state.lenses[0]
    return poses, joints, view


def _state(problem: _Problem, camera: Camera, view: View, poses: np.ndarray, joints: np.ndarray) -> MovingFit:
    """Errors from the normal equations of each window, and the frames that are not explained."""
    seen, count = problem.seen, len(problem.targets)
    n = joints.shape[1]
    q, sigma, spread = np.full((count, n), np.nan), np.full((count, n), np.nan), np.full((count, TWIST), np.nan)
    iou = np.zeros(count)
    focal = 0.0
    for begin in range(0, len(seen), WINDOW):
        some = list(range(begin, min(begin + WINDOW, len(seen))))
        state = State(joints[some], poses[some], (view,))
        looks = [Look(problem.targets.read(seen[i], FINE.width), k, 0, k) for k, i in enumerate(some)]

        pivots = pivot_points(problem.models[2], state, looks)
        each = look_at(problem.models[2], state, looks, problem.targets.channels, FINE, pivots, exact=True)
        scaled = []
        for e, look in zip(each, looks):
            s = misfit(e.cost, look.target, FINE)
            scaled.append(replace(e, H=e.H / s, g=e.g / s))
        priors = Priors(problem.pull(state.q), {}, problem.steady([seen[i] for i in some]))
        H, _ = assemble(scaled, state, looks, priors, pivots)
        free = Free(
            np.ones((len(some), TWIST), bool), np.r_[problem.focal_free, np.ones(CHANNELS, bool)][None], problem.free
        )
        deviation = np.sqrt(np.diag(marginal(H, 0, state.size, free.flags(state))).clip(0))
        for k, i in enumerate(some):
            t = seen[i]
            q[t], iou[t] = joints[i], each[k].iou
            spread[t] = deviation[TWIST * k : TWIST * (k + 1)]
            widest = 1 / np.sqrt(prior_information(problem.limits))
            sigma[t] = np.minimum(deviation[state.shared + n * k : state.shared + n * (k + 1)], widest)
        focal = max(focal, float(deviation[TWIST * len(some)]))
    usual = float(np.median(iou[seen]))
    valid = np.isfinite(q).all(1) & (iou > max(0.3, POOR * usual))
    nearest = [min(range(len(seen)), key=lambda i: abs(seen[i] - t)) for t in range(count)]
    cameras = tuple(problem.targets.camera(camera, replace(view, T_cam_base=poses[i])) for i in nearest)
    warnings = []
    if len(seen) < count:
        warnings.append(f"{count - len(seen)} of {count} frames show no robot: their joints are NaN")
    if int(valid.sum()) < len(seen):
        warnings.append(f"{len(seen) - int(valid.sum())} frames are not explained by the fit: flagged invalid")
    jumps = [float(np.linalg.norm(a[:3, 3] - b[:3, 3])) for a, b in pairwise(poses)]
    if jumps and max(jumps) > 3 * STEP_PLACE:
        warnings.append(f"the camera jumps by {max(jumps):.2f} m between two frames: a cut in the video?")
    told = observable(sigma, problem.limits) & valid[:, None]
    return MovingFit(
        problem.robot.joint_names,
        q,
        sigma,
        told,
        iou,
        valid,
        cameras,
        spread,
        cameras[0].focal * focal,
        tuple(warnings),
    )
