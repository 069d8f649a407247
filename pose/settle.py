"""What all frames of a clip share - the camera, and how fat the masks are - settled by many frames together.

Tracking follows each frame on a middle level; here a sample of the frames finds camera, focal length, mask offsets
and its own joints in one solve on the finest level, every frame is refined under these, and the errors of what is
shared are worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pose.azimuth import base_axis, spread
from pose.bundle import Solution, Unknowns, solve
from pose.camera import Camera
from pose.errors import FitError
from pose.evenly import evenly
from pose.odd_ones import put_in_line
from pose.over_time import KNOWN
from pose.priors import PosePrior
from pose.solver import CHANNELS, OFFSET, SHARED, Level, View, evaluate, move, parallel, residual
from pose.targets import Targets
from pose.tracking import FINE, PYRAMID, Frame, Tracker
from pose.uncertainty import marginal, misfit, prior_information
from pose.valleys import borne_out

SAMPLE = 16  # frames
PROBE = 3.0  # standard deviations by which a joint is moved to see what its change costs
LEAST = 0.02  # of the information that the normal equations state, kept at least


def polish(
    targets: Targets,
    tracker: Tracker,
    frames: Sequence[Frame | None],
    camera: np.ndarray,
    known: Sequence[int],
    near: PosePrior | None = None,
) -> tuple[Solution, list[int]]:
    """Solve for what is shared, with the joints of a sample of well-explained frames.

    Args:
        camera: (7,) which camera parameters are free.
        known: frames whose joints are believed as they are.
        near: where the camera is believed to be.

    Returns:
        the solution on the finest level, and the frames it rests on.

    Raises:
        FitError: no frame's fit overlaps its mask.
    """
    overlaps = [frame.iou for frame in frames if frame is not None]
    good = [t for t, frame in enumerate(frames) if frame is not None and frame.iou > 0.75 * np.median(overlaps)]
    if not good:
        raise FitError(
            "the robot, where camera and joints put it, covers none of the masks: "
            "check T_cam_base, K and the order of the joints"
        )
    used = [good[i] for i in evenly(len(good), SAMPLE)]
    q = np.stack([frames[t].q for t in used])  # type: ignore[union-attr]
    weight = np.tile(prior_information(tracker.limits), (len(used), 1))
    mean = np.tile(tracker.rest, (len(used), 1))
    for i, t in enumerate(used):
        if t in known:
            mean[i], weight[i] = q[i], KNOWN * weight[i]
    masks = [targets.read(t, FINE.width) for t in used]
    solution = solve(
        tracker.models[-1], q, tracker.views[-1], masks, tracker.channels, tracker.levels[-1],
        Unknowns(camera, tracker.free, offsets=True), tracker.limits, prior=(mean, weight), trust=tracker.trust[-1],
        iterations=12, tolerance=1e-3, pose_prior=near,
    )  # fmt: skip
    return solution, used


def follow(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], camera: Camera, solution: Solution,
    known: Sequence[int], unit: np.ndarray, say: Callable[[str, int, int], None],
) -> list[Frame | None]:  # fmt: skip
    """All frames once more, on the finest level, under what was settled together, with their normal equations.

    Args:
        unit: (n,) of each joint's motion.
    """
    views = tuple(replace(targets.view(camera, level.width), offset=solution.view.offset) for level in PYRAMID)
    tracker = replace(tracker, views=views)
    done = 0

    def look(t: int, q: np.ndarray) -> Frame:
        target = targets.read(t, FINE.width)
        if t not in known and tracker.free.any():
            q, _ = tracker.refine(np.clip(q, *tracker.limits), [target] * len(PYRAMID), len(PYRAMID) - 1)
        return tracker.information(q, target, solution.pivot)

    def one(t: int) -> Frame | None:
        nonlocal done
        done += 1
        say("follow", done, len(frames))
        frame = frames[t]
        return None if frame is None else look(t, frame.q)

    followed = parallel(one, range(len(frames)))
    asked = [None if t in known else frame for t, frame in enumerate(followed)]
    return [
        frame if t in known else other
        for t, (frame, other) in enumerate(zip(followed, put_in_line(asked, unit, tracker.free, look)))
    ]


@dataclass(frozen=True)
class Shared:
    """How well a clip's masks tell what its frames share, and how far a frame's normal equations can be believed.

    Attributes:
        covariance: (SHARED, SHARED) of camera twist, log focal length and mask offsets; zeros where known.
        kept: (SHARED + n,) square root of the share of each parameter's stated information that is real.
        fresh: share of a frame's information that is news after the frame before it.
        told: share of the information of the frames that this rests on that is news after the others.
        level: the one that the frames' equations are of.
        valley: (T,n) share of each joint's information that is real when the other joints may make up for its change.
            Smoothing does without it: a valley's lowest point is a better estimate than the neighbours'.
    """

    covariance: np.ndarray
    kept: np.ndarray
    fresh: float = 1.0
    told: float = 1.0
    level: Level = FINE
    valley: np.ndarray | None = None

    def told_by(self, every: int) -> float:
        """`told`, when only every so many of those frames are used: these are less alike."""
        likeness = (1 - self.told) / (1 + self.told)
        return news(likeness**every)

    def information(self, frame: Frame, target: np.ndarray) -> np.ndarray:
        """(SHARED + n, SHARED + n) information of a frame, for the noise that its misfit shows."""
        assert frame.equations is not None
        H = frame.equations.H / misfit(frame.equations.cost, target, self.level)
        return H * np.outer(self.kept, self.kept)


def share(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], used: list[int], solution: Solution,
    camera: np.ndarray, known: Sequence[int], near: PosePrior | None = None,
) -> Shared:  # fmt: skip
    """The errors of what is shared, from the normal equations of the used frames and from looking whether these hold.

    Normal equations describe the cost near its minimum to first order; where a joint hardly moves the outline they
    promise too much. Each joint, and the camera, is therefore moved by a few of a frame's standard deviations, and the
    base turned under the arm.
    """
    model, view = tracker.models[-1], solution.view
    masks = [targets.read(t, FINE.width) for t in used]
    chosen = [frame for frame in (frames[t] for t in used) if frame is not None]
    q = np.stack([frame.q for frame in chosen])

    def cost(i: int, row: np.ndarray, at: View = view) -> float:
        e = evaluate(model, row, at, masks[i], tracker.channels, tracker.levels[-1], None, tracker.trust[-1])
        return e.cost / misfit(chosen[i].equations.cost, masks[i], tracker.levels[-1])  # type: ignore[union-attr]

    kept = np.ones(SHARED + q.shape[1])
    unscaled = Shared(np.zeros((SHARED, SHARED)), kept, level=tracker.levels[-1])
    plain = [unscaled.information(frame, mask) for frame, mask in zip(chosen, masks)]
    base = parallel(lambda i: cost(i, q[i]), range(len(q)))
    for k in np.flatnonzero(tracker.free):
        kept[SHARED + k] = np.sqrt(bears_out(int(k), q, plain, tracker.limits, cost, base))

    def shifted(k: int) -> Callable[[int, float], float]:
        """Cost of a frame with the camera moved along one of its parameters."""
        along = np.eye(SHARED)[k]
        return lambda i, step: cost(i, q[i], move(view, step * along, solution.pivot))

    for k in np.flatnonzero(camera):
        kept[k] = np.sqrt(_borne_out([float(H[k, k]) for H in plain], shifted(int(k)), base))
    shared = replace(unscaled, kept=kept)
    H = _assemble([shared.information(frame, mask) for frame, mask in zip(chosen, masks)], tracker, used, known)
    if near is not None:
        H[range(6), range(6)] += near.information
    axis = base_axis(model, tracker.free) if camera[:6].all() and near is None else None
    base_unsure = np.zeros((SHARED, SHARED))
    if axis is not None:
        u = np.zeros(len(H))
        u[:6] = axis.direction(view.T_cam_base, solution.pivot)
        u[SHARED + axis.column :: q.shape[1]] = -1.0

        def turned(angle: float) -> float:
            T, rows = axis.turn(view.T_cam_base, q, angle)
            return sum(parallel(lambda i: cost(i, rows[i], replace(view, T_cam_base=T)), range(len(rows))))

        def allowed(angle: float) -> bool:
            row = q[:, axis.column] - angle
            return bool((row >= tracker.limits[0][axis.column]).all() and (row <= tracker.limits[1][axis.column]).all())

        stated, real = float(u @ H @ u), 1 / spread(turned, allowed) ** 2
        if real < stated:  # added to the covariance: taken off H, next to nothing would be left, lost in rounding
            base_unsure = (1 / real - 1 / stated) * np.outer(u[:SHARED], u[:SHARED])
    free = np.r_[camera, np.ones(CHANNELS), np.tile(tracker.free, len(q))].astype(bool)
    told = news(_likeness(targets, tracker, view, frames, [(a, b) for a, b in pairwise(used)]))
    neighbours = [(t, t + 1) for t in used if t + 1 < len(frames) and frames[t + 1] is not None]
    real = np.log(borne_out(tracker, view, chosen, masks, plain))
    return replace(
        shared,
        covariance=(marginal(H, 0, SHARED, free) + base_unsure) / told,
        fresh=news(_likeness(targets, tracker, view, frames, neighbours)),
        told=told,
        valley=np.exp(np.stack([np.interp(np.arange(len(frames)), used, column) for column in real.T], 1)),
    )


def news(likeness: float) -> float:
    """Share of the information of many estimates left when each one's error resembles the last one's this much.

    For errors e_t = r e_(t-1) + noise the mean of N has the variance of N (1 - r) / (1 + r) independent ones.
    """
    r = min(max(likeness, 0.0), 0.98)
    return (1 - r) / (1 + r)


def _likeness(
    targets: Targets, tracker: Tracker, view: View, frames: Sequence[Frame | None], pairs: Sequence[tuple[int, int]]
) -> float:
    """Correlation of what is wrong with the masks in pairs of frames; 0 without pairs."""
    if not pairs:
        return 0.0

    def wrong(t: int) -> np.ndarray:
        frame = frames[t]
        assert frame is not None
        target, level = targets.read(t, FINE.width), tracker.levels[-1]
        return residual(tracker.models[-1], frame.q, view, target, tracker.channels, level, tracker.trust[-1])

    images = dict(zip(order := sorted({t for pair in pairs for t in pair}), parallel(wrong, order)))
    both = sum(float((images[a] * images[b]).sum()) for a, b in pairs)
    alone = sum(float(np.sqrt((images[a] ** 2).sum() * (images[b] ** 2).sum())) for a, b in pairs)
    return both / max(alone, 1e-12)


def bears_out(
    k: int, q: np.ndarray, H: list[np.ndarray], limits, cost: Callable[[int, np.ndarray], float], base: Sequence[float]
) -> float:
    """The share of a joint's stated information that its cost bears out, over the used frames; `base` is it at q."""

    def moved(i: int, step: float) -> float:
        row = q[i].copy()
        row[k] += step
        return cost(i, row)

    return _borne_out([float(one[SHARED + k, SHARED + k]) for one in H], moved, base, 0.25 * (limits[1] - limits[0])[k])


def _borne_out(
    stated: list[float], cost: Callable[[int, float], float], base: Sequence[float], farthest: float = np.inf
) -> float:
    """The same for anything that can be moved by a step: information and cost of each frame."""

    def rise(i: int) -> tuple[float, float]:
        step = min(PROBE / np.sqrt(max(stated[i], 1e-9)), farthest)
        return (cost(i, -step) + cost(i, step)) / 2 - base[i], stated[i] * step**2

    actual, expected = np.array(parallel(rise, range(len(stated)))).sum(0)
    return float(np.clip(actual / max(expected, 1e-9), LEAST, 1.0))


def _assemble(blocks: list[np.ndarray], tracker: Tracker, used: list[int], known: Sequence[int]) -> np.ndarray:
    """Normal equations over [shared, q_0, q_1, ...] with what is known beforehand."""
    joints = len(tracker.free)
    H = np.zeros((SHARED + joints * len(blocks),) * 2)
    prior = prior_information(tracker.limits)
    for i, (t, block) in enumerate(zip(used, blocks)):
        s = slice(SHARED + i * joints, SHARED + (i + 1) * joints)
        H[:SHARED, :SHARED] += block[:SHARED, :SHARED]
        H[:SHARED, s] += block[:SHARED, SHARED:]
        H[s, :SHARED] += block[SHARED:, :SHARED]
        # a joint's limits are known once, not once a frame
        H[s, s] += block[SHARED:, SHARED:] + np.diag(prior * (KNOWN if t in known else 1 / len(blocks)))
    offsets = range(SHARED - CHANNELS, SHARED)
    H[offsets, offsets] += 1 / OFFSET**2
    return H
