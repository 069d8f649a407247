"""Gauss-Newton on depth and outline of some frames at once: camera, focal length, sensor scale, joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pose.camera import Camera
from pose.clip_fit import ClipFit
from pose.depth import DEPTH_SHARED, Samples, per_patch, sample, spread
from pose.depth_frames import DepthFrame
from pose.edges import pull
from pose.solver import CAMERA_PARAMETERS, OFFSET, SHARED, View, evaluate, move, parallel
from pose.tracking import FINE
from pose.uncertainty import misfit
from urdf import Robot

REACH = (0.06, 0.06, 0.04, 0.04, 0.025, 0.025, 0.015, 0.015, 0.015, 0.015)  # metres, step by step
PLAY = 3.0  # of a square's spread: a sample that is off by less is no outlier
FIRST = 0.005  # metres: spread of a square's mean before it is measured
LEAST_SPREAD = 5e-4  # metres: meshes are no better
SCALE = 0.01  # standard deviation of a sensor's scale
HELD = 0.15  # rad or m: how far joints may go from the start
EDGE_REACH = 3.0  # pixels at 640 of width


@dataclass(frozen=True)
class DepthState:
    """The camera at full size with the masks' offsets, joints (F,n) of some frames, logarithm of the depth's scale."""

    view: View
    q: np.ndarray
    log_scale: float = 0.0


@dataclass(frozen=True)
class Kept:
    """What is real of the information that normal equations state.

    Attributes:
        depth, outline: (n,) square roots of each joint's real share, by depth and by the outline.
        turn: (C+n,) the direction in which the base turns under the arm. lost: the share that is not real there.
    """

    depth: np.ndarray
    outline: np.ndarray
    turn: np.ndarray
    lost: float = 0.0

    def lessened(self, H: np.ndarray) -> np.ndarray:
        """H (C+n,C+n) less what it states too much about the base's angle."""
        pull = H @ self.turn
        return H if self.lost <= 0 else H - self.lost / float(self.turn @ pull) * np.outer(pull, pull)


@dataclass(frozen=True)
class DepthSolver:
    """Gauss-Newton on masks (or edges) and depth of some frames; free: of what frames share."""

    clip: ClipFit
    free: np.ndarray

    def samples(self, state: DepthState, frame: DepthFrame, i: int, pivot: np.ndarray) -> Samples:
        """Where a frame's depth sees the robot."""
        return sample(
            self.clip.model, state.q[i], state.view, frame.depth, pivot, log_scale=state.log_scale,
            allowed=frame.allowed,
        )  # fmt: skip

    def gap(self, state: DepthState, frames: Sequence[DepthFrame]) -> float:
        """Median distance in metres between the mesh and the measured surface, along the ray."""
        every = parallel(lambda i: self.samples(state, frames[i], i, np.zeros(3)).metres, range(len(frames)))
        off = np.abs(np.concatenate(every))
        return float(np.median(off)) if len(off) else float("inf")

    def outline(
        self, state: DepthState, frame: DepthFrame, i: int, pivot: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """H, g (SHARED+n) and cost of the silhouette: by edges where there are any, else by masks."""
        if frame.edges is not None:
            reach = EDGE_REACH * state.view.width / 640
            e = pull(self.clip.model, state.q[i], state.view, frame.edges, reach, pivot)[0]
            return e.H, e.g, e.cost
        height, width = frame.target.shape[1:]
        K = np.asarray(
            replace(self.clip.fit.camera, K=state.view.K, distortion=())
            .scaled(width / state.view.width, height / state.view.height).K, float
        )  # fmt: skip
        small = View(width, height, K, state.view.T_cam_base, state.view.offset)
        e = evaluate(self.clip.model, state.q[i], small, frame.target, self.clip.targets.channels, FINE, pivot)
        much = misfit(e.cost, frame.target, FINE)
        return e.H / much, e.g / much, e.cost / much

    def equations(
        self,
        state: DepthState,
        job: tuple[int, DepthFrame],
        pivot: np.ndarray,
        reach: float,
        variance: float,
        kept: Kept | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """H and g of [shared, joints] of one frame, the joints' row in the state given with it."""
        i, frame = job
        n = state.q.shape[1]
        H, g = self.samples(state, frame, i, pivot).equations(reach, variance)
        at = np.r_[:SHARED, DEPTH_SHARED : DEPTH_SHARED + n]
        more, pushed, _ = self.outline(state, frame, i, pivot)
        if kept is not None:
            whole = np.r_[np.ones(DEPTH_SHARED), kept.depth]
            H *= np.outer(whole, whole)
            whole = np.r_[np.ones(SHARED), kept.outline]
            more = more * np.outer(whole, whole)
        H[np.ix_(at, at)] += more
        g[at] += pushed
        return (H if kept is None else kept.lessened(H)), g

    def settle(
        self, start: DepthState, frames: Sequence[DepthFrame], reaches: Sequence[float], noise: float | None
    ) -> tuple[DepthState, float]:
        """The state after a step a reach, and the spread (1/m) of squares; it is measured where none is given."""
        robot, joints, count = self.clip.robot, self.clip.free, len(frames)
        n, state = len(joints), start
        camera = replace(self.clip.fit.camera, distortion=())
        per = per_patch(start.view.width)
        flags = np.r_[self.free, np.tile(joints, count)]
        for k, reach in enumerate(reaches):
            posed = replace(camera, K=state.view.K, T_cam_base=state.view.T_cam_base)
            pivot = self.clip.pivot(posed, state.q)
            near = nearness(state, pivot)
            if noise is None or (len(reaches) == len(REACH) and k >= 2):
                noise = self._spread(state, frames, reach, near if k else None)
            wide = max(reach, PLAY * noise / near**2)
            variance = noise**2 * per
            look = partial(self.equations, state, pivot=pivot, reach=wide, variance=variance)
            every = parallel(look, list(enumerate(frames)))
            H, g = np.zeros((len(flags),) * 2), np.zeros(len(flags))
            shared = slice(0, DEPTH_SHARED)
            for i, (Hi, gi) in enumerate(every):
                own = slice(DEPTH_SHARED + n * i, DEPTH_SHARED + n * (i + 1))
                H[shared, shared] += Hi[shared, shared]
                H[shared, own] += Hi[shared, DEPTH_SHARED:]
                H[own, shared] += Hi[DEPTH_SHARED:, shared]
                H[own, own] += Hi[DEPTH_SHARED:, DEPTH_SHARED:] + np.eye(n) / HELD**2
                g[shared] += gi[shared]
                g[own] += gi[DEPTH_SHARED:] + (state.q[i] - start.q[i]) / HELD**2
            believed = np.r_[state.view.offset / OFFSET**2, state.log_scale / SCALE**2]
            H[shared, shared] += belief(1, 0)
            g[CAMERA_PARAMETERS:DEPTH_SHARED] += believed
            state = self._stepped(state, H, g, flags & (np.diag(H) > 1e-9), pivot, robot)
        assert noise is not None
        return state, noise

    def _stepped(self, state: DepthState, H, g, flags: np.ndarray, pivot: np.ndarray, robot: Robot) -> DepthState:
        at = np.flatnonzero(flags)
        A = H[np.ix_(at, at)]
        step = np.zeros(len(g))
        step[at] = -np.linalg.solve(A + 1e-4 * np.diag(np.diag(A)), g[at])
        joints = step[DEPTH_SHARED:].reshape(state.q.shape)
        return DepthState(
            move(state.view, step[:SHARED], pivot), np.clip(state.q + joints, robot.lower, robot.upper),
            state.log_scale + float(step[SHARED]),
        )  # fmt: skip

    def patches(self, state: DepthState, frames: Sequence[DepthFrame], reach: float) -> list[np.ndarray]:
        """Mean residuals of squares of every frame."""
        return parallel(
            lambda i: self.samples(state, frames[i], i, np.zeros(3)).patches(reach), range(len(frames))
        )  # fmt: skip

    def _spread(self, state: DepthState, frames: Sequence[DepthFrame], reach: float, near: float | None) -> float:
        """Of the means of squares, 1/m; near: inverse distance of the robot, None before anything is aligned."""
        if near is None:
            pivot = self.clip.pivot(posed_by(self.clip, state), state.q)
            return FIRST * nearness(state, pivot) ** 2
        found = spread(self.patches(state, frames, reach))
        least = LEAST_SPREAD * near**2
        return max(least, found) if np.isfinite(found) else FIRST * near**2


def nearness(state: DepthState, pivot: np.ndarray) -> float:
    """Inverse distance of the robot's middle, 1/m."""
    return 1 / max(float(pivot[2]), 0.1)


def posed_by(clip: ClipFit, state: DepthState) -> Camera:
    return replace(clip.fit.camera, distortion=(), K=state.view.K, T_cam_base=state.view.T_cam_base)


def belief(frames: int, joints: int) -> np.ndarray:
    """(C+n,C+n) information on offsets and scale before anything is seen, a frame's share of it."""
    out = np.zeros((DEPTH_SHARED + joints,) * 2)
    at = range(CAMERA_PARAMETERS, DEPTH_SHARED)
    out[at, at] = [1 / OFFSET**2] * (SHARED - CAMERA_PARAMETERS) + [1 / SCALE**2]
    return out / frames
