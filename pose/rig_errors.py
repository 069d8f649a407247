"""How well the pictures of a rig tell its cameras and the joints: covariances over all views together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pose.azimuth import base_axis, spread
from pose.bundle import LENS, Look, State, look_at, pivot_points
from pose.camera import Camera
from pose.kernel import CAMERA_PARAMETERS
from pose.priors import TWIST
from pose.rig import Rig
from pose.settle import bears_out, news
from pose.solver import CHANNELS, OFFSET, SHARED, parallel, residual
from pose.tracking import FINE
from pose.uncertainty import marginal, misfit, prior_information


@dataclass(frozen=True)
class RigErrors:
    """What `fit_views` states about its errors.

    Attributes:
        iou: (V,T), NaN where not seen.
        information: (T,n,n) of each instant's joints with the cameras held; fresh: share that is news each time.
        spread: (T,n) what the cameras' errors add; sigma: (T,n) both together.
        covariance: (6V,6V) of the cameras' twists about pivots (V,3); focal_sigma: (V,) relative.
    """

    iou: np.ndarray
    information: np.ndarray
    fresh: float
    spread: np.ndarray
    sigma: np.ndarray
    covariance: np.ndarray
    pivots: np.ndarray
    focal_sigma: np.ndarray


def rig_errors(
    rig: Rig, cameras: Sequence[Camera], joints: np.ndarray, offsets: np.ndarray, used: Sequence[int]
) -> RigErrors:
    """Errors of cameras and joints (T,n), the cameras' from the instants `used`.

    The normal equations are checked as for one camera (`pose.settle.share`): joints are moved by a few standard
    deviations, the base is turned under the arm, and errors that last from instant to instant count once.
    """
    views, count, n = len(cameras), *joints.shape
    seen = [int(t) for t in np.flatnonzero(rig.seen.any(0))]
    lenses = rig.lenses(2, cameras, range(views), offsets)
    state = State(joints[seen], np.stack([lens.T_cam_base for lens in lenses]), lenses)
    looks = rig.looks(2, seen, range(views))
    pivots = pivot_points(rig.models[2], state, looks)
    equations = look_at(rig.models[2], state, looks, rig.channels, FINE, pivots, exact=True)
    iou = np.full((views, count), np.nan)
    scale = [misfit(e.cost, look.target, FINE) for e, look in zip(equations, looks)]
    for look, e in zip(looks, equations):
        iou[look.pose, seen[look.instant]] = e.iou
    by_instant: dict[int, list[int]] = {t: [] for t in seen}
    for i, look in enumerate(looks):
        by_instant[seen[look.instant]].append(i)

    def cost(rows: np.ndarray, at: State, only: Sequence[int]) -> float:
        """Cost of instants `used`, in variances; rows (U,n) their joints."""
        trial = State(rows, at.poses, at.lenses)
        some = [
            Look(looks[i].target, looks[i].pose, looks[i].lens, f) for f, t in enumerate(only) for i in by_instant[t]
        ]
        order = [i for t in only for i in by_instant[t]]
        costs = look_at(rig.models[2], trial, some, rig.channels, FINE, None)
        return sum(e.cost / scale[i] for e, i in zip(costs, order))

    def block(t: int) -> np.ndarray:
        return sum((equations[i].H / scale[i] for i in by_instant[t]), np.zeros((SHARED + n,) * 2))

    kept = np.ones(n)
    rows = joints[list(used)]
    plain = [block(t) for t in used]
    base = [cost(row[None], state, [t]) for row, t in zip(rows, used)]
    for k in np.flatnonzero(rig.free):
        kept[k] = np.sqrt(
            bears_out(int(k), rows, plain, rig.limits, lambda i, row: cost(row[None], state, [used[i]]), base)
        )  # fmt: skip
    shared = TWIST * views + LENS * views

    def put(H: np.ndarray, i: int, at: int) -> None:
        look = looks[i]
        index = np.r_[
            TWIST * look.pose + np.arange(TWIST), TWIST * views + LENS * look.lens + np.arange(LENS), at + np.arange(n)
        ]
        keep = np.r_[np.ones(SHARED), kept]
        H[np.ix_(index, index)] += equations[i].H / scale[i] * np.outer(keep, keep)

    prior = prior_information(rig.limits)
    H = np.zeros((shared + n * len(used),) * 2)
    for f, t in enumerate(used):
        at = shared + n * f
        for i in by_instant[t]:
            put(H, i, at)
        H[range(at, at + n), range(at, at + n)] += prior / len(used)
    for v in range(views):
        at = TWIST * views + LENS * v + 1 + np.arange(CHANNELS)
        H[at, at] += 1 / OFFSET**2
        if v in rig.pose_priors:
            at = TWIST * v + np.arange(TWIST)
            H[at, at] += rig.pose_priors[v].information
    H = _azimuth(rig, state, rows, pivots, H, shared, lambda r, poses: cost(r, State(r, poses, lenses), list(used)))
    free = np.r_[
        np.repeat(rig.camera_free, TWIST),
        np.column_stack([rig.focal_free, np.ones((views, CHANNELS))]).ravel(),
        np.tile(rig.free, len(used)),
    ].astype(bool)
    likeness = _likeness(rig, state, looks, by_instant, list(pairwise(used)))
    fresh = news(_likeness(rig, state, looks, by_instant, list(pairwise(seen))))
    covariance = marginal(H, 0, shared, free) / news(likeness)
    information, added, sigma = np.zeros((count, n, n)), np.zeros((count, n)), np.zeros((count, n))
    loose = np.flatnonzero(rig.free)
    for t in seen:
        own = np.zeros((shared + n,) * 2)
        for i in by_instant[t]:
            put(own, i, shared)
        information[t] = own[shared:, shared:]
        if len(loose):
            inverse = np.linalg.inv((information[t] + np.diag(prior))[np.ix_(loose, loose)])
            gain = inverse @ own[shared:, :shared][loose]
            added[t, loose] = np.sqrt(np.einsum("ij,jk,ik->i", gain, covariance, gain).clip(0))
            sigma[t, loose] = np.hypot(np.sqrt(np.diag(inverse)), added[t, loose])
    focal = np.sqrt(np.diag(covariance)[TWIST * views :: LENS].clip(0))
    return RigErrors(
        iou, information, fresh, added, sigma, covariance[: TWIST * views, : TWIST * views], pivots, focal
    )  # fmt: skip


def _azimuth(rig: Rig, state: State, rows: np.ndarray, pivots: np.ndarray, H: np.ndarray, shared: int, cost):
    """H with what it promises about the base's angle cut down to what turning the base under the arm costs."""
    axis = base_axis(rig.models[2], rig.free) if rig.camera_free.all() else None
    if axis is None:
        return H
    u = np.zeros(len(H))
    for v, T in enumerate(state.poses):
        u[TWIST * v : TWIST * v + TWIST] = axis.direction(T, pivots[v])
    u[shared + axis.column :: rows.shape[1]] = -1.0
    low, high = (limit[axis.column] for limit in rig.limits)

    def turned(angle: float) -> float:
        poses = np.stack([axis.turn(T, rows, angle)[0] for T in state.poses])
        return cost(axis.turn(state.poses[0], rows, angle)[1], poses)

    def allowed(angle: float) -> bool:
        row = rows[:, axis.column] - angle
        return bool((row >= low).all() and (row <= high).all())

    stated, real = float(u @ H @ u), 1 / spread(turned, allowed) ** 2
    if real >= stated:
        return H
    return H - (1 - real / stated) / stated * np.outer(H @ u, H @ u)


def _likeness(rig: Rig, state: State, looks: Sequence[Look], by_instant, pairs: Sequence[tuple[int, int]]) -> float:
    """Correlation of what is wrong with the masks of one view at two instants; 0 without pairs."""
    needed = sorted({i for pair in pairs for t in pair for i in by_instant[t]})

    def wrong(i: int) -> np.ndarray:
        look = looks[i]
        q, view = state.q[look.instant], state.view(look)
        return residual(rig.models[2], q, view, look.target, rig.channels, FINE)

    images = dict(zip(needed, parallel(wrong, needed)))
    both = alone = 0.0
    for a, b in pairs:
        for i in by_instant[a]:
            for j in by_instant[b]:
                if looks[i].pose == looks[j].pose:
                    both += float((images[i] * images[j]).sum())
                    alone += float(np.sqrt((images[i] ** 2).sum() * (images[j] ** 2).sum()))
    return both / alone if alone > 0 else 0.0


assert CAMERA_PARAMETERS + CHANNELS == TWIST + LENS  # a picture's parameters are a pose's and a lens's
