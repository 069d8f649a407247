"""Levenberg-Marquardt on many pictures of one robot at once: any number of cameras, instants, and unknowns.

A picture (`Look`) is taken through a lens, from a pose, at an instant. Cameras of a rig have a pose and a lens each and
share the joints of every instant; a camera that moves has one lens and a pose for every instant. What is known
beforehand enters as priors on joints and poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.kernel import Model, link_poses
from pose.priors import TWIST, PosePrior, Priors, between, uneven
from pose.solver import CHANNELS, OFFSET, Equations, Level, View, evaluate, move, parallel

LENS = 1 + CHANNELS  # parameters of a lens: log focal length, and how far each channel's masks lie outside the robot


@dataclass(frozen=True)
class Look:
    """One picture: masks (C,H,W) at the working size, and which pose, lens and instant it belongs to."""

    target: np.ndarray
    pose: int = 0
    lens: int = 0
    instant: int = 0
    trust: np.ndarray | None = None


@dataclass(frozen=True)
class State:
    """Joints (F,n) of the instants, poses (P,4,4), and lenses: views whose own pose does not count."""

    q: np.ndarray
    poses: np.ndarray
    lenses: tuple[View, ...]

    def view(self, look: Look) -> View:
        """The camera of a picture."""
        return replace(self.lenses[look.lens], T_cam_base=self.poses[look.pose])

    def index(self, look: Look) -> np.ndarray:
        """Where the parameters of a picture (twist, lens, joints) are among all: poses, lenses, joints."""
        lenses = TWIST * len(self.poses)
        joints = lenses + LENS * len(self.lenses)
        n = self.q.shape[1]
        return np.r_[
            TWIST * look.pose : TWIST * look.pose + TWIST,
            lenses + LENS * look.lens : lenses + LENS * look.lens + LENS,
            joints + n * look.instant : joints + n * (look.instant + 1),
        ]

    @property
    def shared(self) -> int:
        """How many parameters belong to poses and lenses."""
        return TWIST * len(self.poses) + LENS * len(self.lenses)

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self.shared + self.q.size


@dataclass(frozen=True)
class Free:
    """What may change: poses (P,6), lenses (P,3: log focal, offsets), joints (n,) or (F,n)."""

    poses: np.ndarray
    lenses: np.ndarray
    joints: np.ndarray

    def flags(self, state: State) -> np.ndarray:
        """(size,) bool."""
        joints = np.broadcast_to(self.joints, state.q.shape)
        return np.r_[np.ravel(self.poses), np.ravel(self.lenses), joints.ravel()].astype(bool)


@dataclass(frozen=True)
class Bundle:
    """Where a solve ended: the state, cost and IoU of every look, and the points (P,3) the poses turn about."""

    state: State
    cost: np.ndarray
    iou: np.ndarray
    pivots: np.ndarray


def settle(
    model: Model, state: State, looks: Sequence[Look], channels: np.ndarray, level: Level, free: Free,
    limits: tuple[np.ndarray, np.ndarray], *, priors: Priors | None = None, iterations: int = 15,
    tolerance: float = 5e-3,
) -> Bundle:  # fmt: skip
    """Refine poses, lenses and joints on one level.

    Args:
        looks: their targets at the size of their lens.
        limits: lower and upper (n,) of the joints.
        tolerance: relative gain of the cost, expected or reached, below which the solve ends.
    """
    priors = priors or Priors()
    flags, shape = free.flags(state), state.q.shape
    damping = 1e-2
    pivots = pivot_points(model, state, looks)
    equations = look_at(model, state, looks, channels, level, pivots)
    total, reached = _total(equations, state, priors, pivots), equations
    turning = _turning(state)
    for count in range(iterations):
        H, g = assemble(equations, state, looks, priors, pivots)
        pushed = g[state.shared :].reshape(shape)
        # a joint at its limit that is pushed further out stays there
        stuck = ((state.q <= limits[0]) & (pushed > 0)) | ((state.q >= limits[1]) & (pushed < 0))
        active = np.flatnonzero(flags & ~np.r_[np.zeros(state.shared, bool), stuck.ravel()] & (np.diag(H) > 1e-9))
        if not len(active):
            break
        Ha, ga = H[np.ix_(active, active)], g[active]
        improved = False
        for _ in range(6):
            A = Ha + damping * np.diag(np.diag(Ha))
            step = np.zeros(len(g))
            step[active] = -np.linalg.solve(A + 1e-9 * np.eye(len(active)), ga)
            step *= min(1.0, 0.5 / max(1e-12, np.abs(step[turning]).max()))
            if -float(2 * g @ step + step @ H @ step) < tolerance * total:
                break
            candidate = stepped(state, step, pivots, free, limits)
            # most steps are taken: their equations are the next ones, from the same pictures
            further = pivot_points(model, candidate, looks) if count < iterations - 1 else None
            trial = look_at(model, candidate, looks, channels, level, further)
            total_new = _total(trial, candidate, priors, pivots)
            if total_new < total:
                improved = True
                break
            damping *= 5
        if not improved:
            break
        gain = (total - total_new) / max(total, 1e-12)
        state, total, reached = candidate, total_new, trial
        damping = max(1e-5, damping / 5)
        pivots = pivot_points(model, state, looks)
        total = _total(reached, state, priors, pivots)
        if gain < tolerance or count == iterations - 1:
            break
        equations = trial
    return Bundle(state, np.array([e.cost for e in reached]), np.array([e.iou for e in reached]), pivots)


def look_at(
    model: Model, state: State, looks: Sequence[Look], channels: np.ndarray, level: Level,
    pivots: np.ndarray | None, exact: bool = False,
) -> list[Equations]:  # fmt: skip
    """The cost of every look, and with pivots (P,3) its normal equations (`pose.solver.evaluate`)."""

    def one(look: Look) -> Equations:
        pivot = None if pivots is None else pivots[look.pose]
        q, view = state.q[look.instant], state.view(look)
        return evaluate(model, q, view, look.target, channels, level, pivot, look.trust, exact)

    return parallel(one, looks)


def pivot_points(model: Model, state: State, looks: Sequence[Look]) -> np.ndarray:
    """(P,3) points of the cameras' frames in the middle of the robot: the mean of its joints as a pose sees them."""
    total, count = np.zeros((len(state.poses), 3)), np.zeros(len(state.poses))
    for look in looks:
        points = link_poses(model, state.q[look.instant], state.poses[look.pose])[0][:, :3, 3]
        total[look.pose] += points.mean(0)
        count[look.pose] += 1
    return total / np.maximum(count, 1)[:, None]


def assemble(
    equations: Sequence[Equations], state: State, looks: Sequence[Look], priors: Priors, pivots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations over all parameters: H (N,N) and g (N,)."""
    H, g = np.zeros((state.size,) * 2), np.zeros(state.size)
    for look, e in zip(looks, equations):
        index = state.index(look)
        H[np.ix_(index, index)] += e.H
        g[index] += e.g
    for i, lens in enumerate(state.lenses):
        at = TWIST * len(state.poses) + LENS * i + 1 + np.arange(CHANNELS)
        H[at, at] += 1 / OFFSET**2
        g[at] += lens.offset / OFFSET**2
    if priors.joints is not None:
        mean, weight = priors.joints
        at = np.arange(state.shared, state.size)
        H[at, at] += np.broadcast_to(weight, state.q.shape).ravel()
        g[at] += ((state.q - mean) * weight).ravel()
    for i, prior in priors.poses.items():
        at = TWIST * i + np.arange(TWIST)
        H[at, at] += prior.information
        g[at] += prior.information * between(prior.T_cam_base, state.poses[i], pivots[i])
    for steady in priors.steady:
        A, r, weight = uneven(steady, state.poses, pivots)
        at = (TWIST * np.array(steady.poses)[:, None] + np.arange(TWIST)).ravel()
        J = np.kron(A, np.eye(TWIST))
        for n, i in enumerate(
            steady.poses
        ):  # each pose turns about its own pivot, evenness is measured at the middle's
            x, y, z = pivots[steady.poses[1]] - pivots[i]
            J[3:, TWIST * n : TWIST * n + 3] += A[0, n] * np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
        H[np.ix_(at, at)] += J.T @ (weight[:, None] * J)
        g[at] += J.T @ (weight * r)
    return H, g


def _total(equations: Sequence[Equations], state: State, priors: Priors, pivots: np.ndarray) -> float:
    total = sum(e.cost for e in equations) + sum(float(((v.offset / OFFSET) ** 2).sum()) for v in state.lenses)
    if priors.joints is not None:
        total += float(((state.q - priors.joints[0]) ** 2 * priors.joints[1]).sum())
    for i, prior in priors.poses.items():
        total += float((prior.information * between(prior.T_cam_base, state.poses[i], pivots[i]) ** 2).sum())
    for steady in priors.steady:
        _, r, weight = uneven(steady, state.poses, pivots)
        total += float((weight * r**2).sum())
    return total


def _turning(state: State) -> np.ndarray:
    """Which parameters are angles, logarithms or joints: those that a step may not change by more than half."""
    poses = [TWIST * i + k for i in range(len(state.poses)) for k in range(3)]
    lenses = [TWIST * len(state.poses) + LENS * i for i in range(len(state.lenses))]
    return np.r_[poses, lenses, np.arange(state.shared, state.size)].astype(int)


def stepped(state: State, step: np.ndarray, pivots: np.ndarray, free: Free, limits) -> State:
    """The state after a step over all its parameters; joints stay within their limits."""
    q = np.clip(state.q + step[state.shared :].reshape(state.q.shape), *limits)
    lenses_at = TWIST * len(state.poses)
    poses = np.stack(
        [
            move(replace(state.lenses[0], T_cam_base=T), np.r_[step[TWIST * i : TWIST * i + TWIST], np.zeros(LENS)],
                 pivots[i]).T_cam_base if free.poses[i].any() else T
            for i, T in enumerate(state.poses)
        ]
    )  # fmt: skip
    lenses = tuple(
        move(lens, np.r_[np.zeros(TWIST), step[lenses_at + LENS * i : lenses_at + LENS * (i + 1)]], pivots[0])
        if free.lenses[i].any()
        else lens
        for i, lens in enumerate(state.lenses)
    )
    return State(np.where(free.joints, q, state.q), poses, lenses)


@dataclass(frozen=True)
class Unknowns:
    """What a solve with one camera may change: entries of camera (7: twist, log focal), joints (n), the offsets."""

    camera: np.ndarray
    joints: np.ndarray
    offsets: bool = False


@dataclass(frozen=True)
class Solution:
    """Where a solve ended: joints (F,n), the view, cost and IoU of each frame, the point the camera turns about."""

    q: np.ndarray
    view: View
    cost: np.ndarray
    iou: np.ndarray
    pivot: np.ndarray


def solve(
    model: Model, q: np.ndarray, view: View, targets: Sequence[np.ndarray], channels: np.ndarray, level: Level,
    unknowns: Unknowns, limits: tuple[np.ndarray, np.ndarray], *, iterations: int = 15,
    prior: tuple[np.ndarray, np.ndarray] | None = None, trust: np.ndarray | None = None, tolerance: float = 5e-3,
    pose_prior: PosePrior | None = None,
) -> Solution:  # fmt: skip
    """`settle` for one camera that stands: q (F,n) start, targets F arrays (C,H,W) at the view's size.

    Args:
        prior: mean (F,n) and information (n,) or (F,n), inverse squared standard deviations: pulls on the joints.
        trust: (H,W) how far each pixel's masks are to be believed, for all frames.
    """
    state = State(np.array(q, float), np.array(view.T_cam_base, float)[None], (view,))
    looks = [Look(target, 0, 0, f, trust) for f, target in enumerate(targets)]
    free = Free(
        unknowns.camera[None, :TWIST], np.r_[unknowns.camera[TWIST:], np.full(CHANNELS, unknowns.offsets)][None],
        unknowns.joints,
    )  # fmt: skip
    priors = Priors(prior, {} if pose_prior is None else {0: pose_prior})
    end = settle(
        model, state, looks, channels, level, free, limits, priors=priors, iterations=iterations, tolerance=tolerance
    )
    return Solution(end.state.q, end.state.view(looks[0]), end.cost, end.iou, end.pivots[0])
