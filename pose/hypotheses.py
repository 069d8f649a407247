"""Camera, and joints where they are unknown, from a few key frames of a clip, with no guess from the user.

Several hypotheses are kept alive: low-resolution breeding on one frame (`pose.start`), Levenberg-Marquardt on it,
extension to the other key frames with the camera held, then all frames and the camera together. Mirror-like
alternatives that no descent can reach are tried explicitly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from pose.azimuth import BaseAxis, base_axis
from pose.bundle import Solution, Unknowns, solve
from pose.errors import FitError
from pose.kernel import Model
from pose.priors import PosePrior
from pose.solver import Level, View
from pose.start import Guesses, Search
from pose.tracking import Tracker
from pose.uncertainty import misfit
from urdf import Robot

Report = Callable[[int, int], None]
SEARCHES = 5  # at most
TWINS = 0.01  # of IoU
HOPEFUL, EXPLAINED = 0.8, 0.9  # mean IoU at the coarsest level: worth a closer look; as good as it will be
NOISE = 1.25  # times the assumed errors of masks: what is left after a fit may be so large
TURN, TURNED = np.deg2rad(30.0), 0.02  # steps of the base's turns that are tried; IoU that they may lack
SAME = np.deg2rad(8.0)  # cameras no farther apart than this are one


@dataclass(frozen=True)
class KeyFrames:
    """The key frames and what is known of them.

    Attributes:
        models: the robot per level of `levels`; targets: per level, F arrays (C,h,w).
        K: per level (3,3) intrinsics; with `focal_known` False only the principal point holds.
        T_cam_base: (4,4) start or known pose, or None.
        q: (F,n) known joints or starts, or None; free: (n,) which of them are unknown.
        turns: joint and angle by which it may have been mistaken, see `mistakable`.
        near: where the camera is believed to be.
        trust: for each level (h,w) how far a pixel's masks are to be believed, or None.
    """

    models: tuple[Model, ...]
    search_model: Model
    channels: np.ndarray
    levels: tuple[Level, ...]
    targets: tuple[list[np.ndarray], ...]
    K: tuple[np.ndarray, ...]
    focal_known: bool
    T_cam_base: np.ndarray | None
    camera_free: bool
    q: np.ndarray | None
    free: np.ndarray
    limits: tuple[np.ndarray, np.ndarray]
    rest: np.ndarray
    turns: tuple[tuple[int, float], ...] = ()
    near: PosePrior | None = None
    trust: tuple[np.ndarray | None, ...] = (None, None, None)

    def view(self, level: int, K: np.ndarray, T: np.ndarray) -> View:
        """A working view with the pose T and the focal length that K has at the coarsest level."""
        h, w = self.targets[level][0].shape[1:]
        out = self.K[level].copy()
        out[0, 0] *= K[0, 0] / self.K[0][0, 0]
        out[1, 1] *= K[1, 1] / self.K[0][1, 1]
        return View(w, h, out, T)

    @property
    def camera_unknowns(self) -> np.ndarray:
        """(7,) which camera parameters are free."""
        return np.r_[np.full(6, self.camera_free), not self.focal_known]


@dataclass(frozen=True)
class Hypothesis:
    """A camera (K at the coarsest level) with joints (F,n) for the key frames, IoU (F,)."""

    K: np.ndarray
    T: np.ndarray
    q: np.ndarray
    iou: np.ndarray

    @property
    def score(self) -> float:
        return float(np.mean(self.iou))


def find(
    key: KeyFrames, rng: np.random.Generator, report: Report, guesses: int = 20000
) -> tuple[Solution, list[Hypothesis]]:
    """The best solution on the finest level, and the hypotheses it beat (best first).

    Raises:
        FitError: no guess overlaps the masks.
    """
    if key.q is not None and not key.free.any():
        pool = with_joints(key, rng, _part(report, 0, 1), guesses)
        return polish(key, _covering(pool))
    pool, best = [], None
    starts = bases(key)
    for i, base in enumerate(starts):
        found = _without_joints(key, base, rng, _part(report, i, len(starts)), guesses)
        settled = _settled(found, pool, searches=i + 1)
        pool = sorted(pool + found, key=lambda h: -h.score)[:8]
        last = settled or i + 1 == len(starts)
        if last or pool[0].score > HOPEFUL:
            best = _better(best, polish(key, _covering(pool)))
            if last or _told(key, best[0]):
                break
    report(10, 10)
    assert best is not None
    return best


def _covering(pool: list[Hypothesis]) -> list[Hypothesis]:
    if not pool or pool[0].score < 0.2:
        raise FitError("no pose of this robot covers the masks: check that --robot names the robot in the video")
    return pool[:3]


def _better(
    one: tuple[Solution, list[Hypothesis]] | None, other: tuple[Solution, list[Hypothesis]]
) -> tuple[Solution, list[Hypothesis]]:
    return other if one is None or other[0].cost.sum() <= one[0].cost.sum() else one


def _told(key: KeyFrames, solution: Solution) -> bool:
    """Whether nothing is left that the masks' own errors do not explain."""
    level = key.levels[-1]
    return bool(np.mean([misfit(c, m, level) for c, m in zip(solution.cost, key.targets[-1])]) < NOISE)


def polish(key: KeyFrames, pool: list[Hypothesis]) -> tuple[Solution, list[Hypothesis]]:
    """The best of some hypotheses and of what looks like it, on the finest level, and the others (best first)."""
    pool = sorted((bundle(key, one, 1) for one in pool), key=lambda h: -h.score)
    pool = _alternatives(key, pool)
    # overlaps hardly tell near-twins apart: the costs on the finest level do
    close = [h for h in pool if h.score > pool[0].score - TWINS][:3]
    finest = len(key.levels) - 1
    solutions = [_solve(key, h, finest, key.camera_unknowns, iterations=15, offsets=True) for h in close]
    best = int(np.argmin([s.cost.sum() for s in solutions]))
    return solutions[best], [h for h in pool if h is not close[best]]


def _part(report: Report, i: int, count: int) -> Callable[[float], None]:
    return lambda share: report(int(8 * (i + share) / count), 10)


def _settled(found: list[Hypothesis], before: list[Hypothesis], searches: int) -> bool:
    """Whether more searches are unlikely to pay: two explain the masks, or came to the same camera."""
    if searches > 1 and found[0].score > EXPLAINED:
        return True
    if searches < 3 or abs(found[0].score - before[0].score) > 0.01:
        return False
    return camera_turn(found[0].T, before[0].T) < np.deg2rad(5)


def camera_turn(T: np.ndarray, other: np.ndarray) -> float:
    """Angle in radians between two camera orientations."""
    return float(Rotation.from_matrix(T[:3, :3].T @ other[:3, :3]).magnitude())


def _solve(
    key: KeyFrames, h: Hypothesis, level: int, camera: np.ndarray, frames=None, iterations: int = 20,
    offsets: bool = False,
) -> Solution:  # fmt: skip
    index = list(range(len(h.q))) if frames is None else list(frames)
    return solve(
        key.models[level], h.q[index], key.view(level, h.K, h.T), [key.targets[level][f] for f in index], key.channels,
        key.levels[level], Unknowns(camera, key.free, offsets), key.limits, iterations=iterations,
        prior=(np.tile(key.rest, (len(index), 1)), _rest_information(key)), pose_prior=key.near,
        trust=key.trust[level],
    )  # fmt: skip


def _rest_information(key: KeyFrames) -> np.ndarray:
    # A weak pull to the likely pose: it decides only what the masks leave open.
    return 1 / np.maximum(0.5 * (key.limits[1] - key.limits[0]), 1e-3) ** 2


def _taken(key: KeyFrames, h: Hypothesis, s: Solution, level: int, frames=None) -> Hypothesis:
    """The hypothesis with a solution put in."""
    K = key.K[0].copy()
    K[0, 0] *= s.view.K[0, 0] / key.K[level][0, 0]
    K[1, 1] *= s.view.K[1, 1] / key.K[level][1, 1]
    q, iou = h.q.copy(), h.iou.copy()
    index = slice(None) if frames is None else list(frames)
    q[index], iou[index] = s.q, s.iou
    return Hypothesis(K, s.view.T_cam_base, q, iou)


def settled(key: KeyFrames, s: Solution, q: np.ndarray) -> tuple[Solution, list[Hypothesis]]:
    """A solution of the finest level settled once more from joints q (F,n), and what it beat (as for `find`)."""
    h = Hypothesis(key.K[0], s.view.T_cam_base, q, s.iou)
    return polish(key, [replace(_taken(key, h, s, len(key.levels) - 1), q=q)])


def bundle(key: KeyFrames, h: Hypothesis, level: int, iterations: int = 20) -> Hypothesis:
    """The hypothesis after Levenberg-Marquardt on all frames and the camera together."""
    return _taken(key, h, _solve(key, h, level, key.camera_unknowns, iterations=iterations), level)


def search_of(key: KeyFrames, base: int) -> Search:
    """The search that key frames ask for, at the coarsest level."""
    return Search(
        key.search_model, np.stack(key.targets[0]), key.channels, key.limits, key.K[0], key.focal_known, key.rest,
        q=key.q if not key.free.any() else None, T=None if key.camera_free else key.T_cam_base, base=base,
        free=None if key.free.all() else key.free, near=key.near, zoom=key.levels[0].zoom,
    )  # fmt: skip


def with_joints(key: KeyFrames, rng, report: Callable[[float], None], guesses: int) -> list[Hypothesis]:
    assert key.q is not None
    frames = len(key.q)
    if key.T_cam_base is not None:  # a start was given
        return [bundle(key, Hypothesis(key.K[0], key.T_cam_base, key.q, np.zeros(frames)), 0)]
    pool = search_of(key, bases(key)[0]).run(max(1500, guesses // frames), 12, rng)
    found = []
    for i in range(len(pool.q)):
        report(0.3 + 0.7 * i / len(pool.q))
        found.append(bundle(key, Hypothesis(pool.K[i], pool.T[i], key.q, np.zeros(frames)), 0))
    return sorted(found, key=lambda h: -h.score)


def _without_joints(key: KeyFrames, base: int, rng, report: Callable[[float], None], guesses: int) -> list[Hypothesis]:
    """Hypotheses for the whole clip that grow from a search on the key frame `base`."""
    single = look_at(key, base, rng, guesses, 24, lambda share: report(0.3 + 0.3 * share))
    found = []
    for i, h in enumerate(single[:6]):
        report(0.6 + 0.4 * i / 6)
        found.append(extend(key, h, base, rng))
    return sorted(found, key=lambda h: -h.score)


def look_at(
    key: KeyFrames, base: int, rng, guesses: int, keep: int, report: Callable[[float], None] = lambda share: None
) -> list[Hypothesis]:
    """Hypotheses for the key frame `base` alone, best first; their other frames have no joints yet."""
    return first_look(key, search_of(key, base), base, rng, guesses, keep, report)


def first_look(
    key: KeyFrames, search: Search, base: int, rng, guesses: int, keep: int,
    report: Callable[[float], None] = lambda share: None,
) -> list[Hypothesis]:  # fmt: skip
    """What a search on the key frame `base` finds, each refined there, best first."""
    frames = len(key.targets[0])
    start = np.tile(key.rest, (frames, 1)) if key.q is None else key.q.copy()
    if key.q is not None:
        search = replace(search, rest=key.q[base])
    pool: Guesses = search.run(guesses, keep, rng)
    single = []
    for i in range(len(pool.q)):
        report(i / len(pool.q))
        h = Hypothesis(pool.K[i], pool.T[i], start.copy(), np.zeros(frames))
        h.q[base] = np.where(key.free, pool.q[i], start[base])
        s = _solve(key, h, 0, key.camera_unknowns, [base], iterations=25)
        single.append(_taken(key, h, s, 0, [base]))
    return sorted(single, key=lambda h: -h.iou[base])


def extend(key: KeyFrames, h: Hypothesis, base: int, rng) -> Hypothesis:
    """A hypothesis for the frame `base` taken to all key frames, and all of it refined at the coarsest level."""
    return bundle(key, _extend(key, h, base, rng), 0)


def _extend(key: KeyFrames, h: Hypothesis, base: int, rng) -> Hypothesis:
    """Joints of the other key frames, neighbour by neighbour, with the hypothesis' camera."""
    q, iou = h.q.copy(), h.iou.copy()
    views = (key.view(0, h.K, h.T),)
    tracker = Tracker(
        key.models[:1], key.search_model, key.channels, views, key.levels[:1], key.free, key.limits, key.rest
    )  # fmt: skip
    frames = len(q)
    for f, neighbour in [(f, f - 1) for f in range(base + 1, frames)] + [(f, f + 1) for f in range(base - 1, -1, -1)]:
        target = key.targets[0][f]
        begin = q[neighbour] if key.q is None else np.where(key.free, q[neighbour], key.q[f])
        candidate, overlap = tracker.refine(begin, [target])
        if overlap < iou[base] - 0.05:
            for start in tracker.search(begin, target, rng, 0.6)[:3]:
                other, value = tracker.refine(start, [target])
                if value > overlap:
                    candidate, overlap = other, value
        q[f], iou[f] = candidate, overlap
    return Hypothesis(h.K, h.T, q, iou)


def _alternatives(key: KeyFrames, pool: list[Hypothesis]) -> list[Hypothesis]:
    """Add what silhouettes hardly tell from the best hypothesis, refit; best first.

    The base turned under the arm (see `pose.azimuth`), and turns of a joint that leave nearly the same picture.
    """
    best = pool[0]
    tried = list(pool)
    moving = [k for k in range(len(key.free)) if key.free[k]]
    if not moving:
        return tried
    axis = base_axis(key.models[0], key.free) if key.camera_free else None
    if axis is not None:
        tried += [bundle(key, h, 1) for h in _turned(key, best, axis)]
    for k, turn in key.turns:
        for angle in (-turn, turn) if key.free[k] else ():
            q = best.q.copy()
            q[:, k] += angle
            inside = (q[:, k] >= key.limits[0][k]) & (q[:, k] <= key.limits[1][k])
            if inside.mean() > 0.7:
                tried.append(bundle(key, replace(best, q=np.clip(q, *key.limits)), 1))
    return sorted(tried, key=lambda h: -h.score)


def _turned(key: KeyFrames, best: Hypothesis, axis: BaseAxis) -> list[Hypothesis]:
    """Up to three hypotheses with the base turned and all the rest fitted to that, about as good as the best one.

    A base in another place leans otherwise too, and the arm follows: without a fit of each no cost tells the good ones.
    """
    fitted = []
    for angle in np.arange(TURN, 2 * np.pi - 1e-9, TURN):
        T, q = axis.turn(best.T, best.q, (angle + np.pi) % (2 * np.pi) - np.pi)
        fitted.append(bundle(key, Hypothesis(best.K, T, np.clip(q, *key.limits), best.iou), 0))
    kept: list[Hypothesis] = []
    least = bundle(key, best, 0).score - TURNED
    for h in sorted(fitted, key=lambda h: -h.score):
        if h.score > least and all(camera_turn(h.T, other.T) > SAME for other in [best, *kept]):
            kept.append(h)
    return kept[:3]


def mistakable(robot: Robot) -> tuple[tuple[int, float], ...]:
    """Column and angle of joints that look nearly the same after a turn: as labelled, else half a turn of the last."""
    columns = {name: i for i, name in enumerate(robot.joint_names)}
    labelled = tuple((columns[name], angle) for name, angle in robot.symmetric)
    turning = [int(k) for k in robot.arm_joints if k in set(robot.tree.q_index[robot.tree.kind == 1].tolist())]
    return labelled or tuple((k, np.pi) for k in turning[-1:])


def bases(key: KeyFrames) -> list[int]:
    """Key frames to start searches from: those that show most of the robot, clear of the image border if possible."""

    def rank(f: int) -> tuple[int, float]:
        m = key.targets[0][f][0] > 0.5
        cut = int(m[0].any()) + int(m[:, 0].any()) + int(m[:, -1].any()) + int(m[-1].any())
        return -cut, float(m.sum())

    order = sorted(range(len(key.targets[0])), key=rank, reverse=True)
    return [order[i % len(order)] for i in range(SEARCHES)]
