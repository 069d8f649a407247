"""Joints frame by frame, with the camera known: follow the motion, and search again where the trail is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose.kernel import Model
from pose.solver import Equations, Level, Unknowns, View, evaluate, solve
from pose.start import Search
from pose.targets import shrink

COARSE = Level(80, 2.0, samples=2)
MIDDLE = Level(160, 1.5, robust=0.7, samples=2)
FINE = Level(400, 1.5, robust=0.5, samples=2)
PYRAMID = (COARSE, MIDDLE, FINE)
NO_CAMERA = np.zeros(7, bool)


@dataclass(frozen=True)
class Near:
    """Where the joints are expected: mean (n,) and standard deviation (n,)."""

    q: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class Frame:
    """One fitted frame: joints (n,), IoU, and its normal equations at the finest level once they are known."""

    q: np.ndarray
    iou: float
    equations: Equations | None = None


@dataclass(frozen=True)
class Tracker:
    """What stays the same from frame to frame.

    Attributes:
        models: the robot for each level, coarse to fine: the last with a finer mesh.
        views: the camera at each level's size.
        free: (n,) joints that are unknown.
        limits: lower and upper (n,).
        search_model: a coarse mesh for searches; rest: (n,) likely joints.
        trust: for each level (H,W) how far a pixel's masks are to be believed, or None.
    """

    models: tuple[Model, ...]
    search_model: Model
    channels: np.ndarray
    views: tuple[View, ...]
    levels: tuple[Level, ...]
    free: np.ndarray
    limits: tuple[np.ndarray, np.ndarray]
    rest: np.ndarray
    trust: tuple[np.ndarray | None, ...] = (None, None, None)

    def pyramid(self, target: np.ndarray) -> list[np.ndarray]:
        """The target (C,H,W) of the finest level at every level's size."""
        return [shrink(target, level) for level in self.levels]

    def refine(
        self, q: np.ndarray, pyramid: list[np.ndarray], first: int = 0, stop: int | None = None,
        near: Near | None = None,
    ) -> tuple[np.ndarray, float]:  # fmt: skip
        """Joints and IoU after Levenberg-Marquardt from q (n,) on levels first..stop-1, pulled to `near`."""
        overlap = 0.0
        prior = None if near is None else (near.q[None], 1 / near.sigma**2)
        for i in range(first, len(self.levels) if stop is None else stop):
            solution = solve(
                self.models[i], q[None], self.views[i], pyramid[i : i + 1], self.channels, self.levels[i],
                Unknowns(NO_CAMERA, self.free), self.limits, prior=prior, trust=self.trust[i],
                iterations=(25, 12, 6)[i],
            )  # fmt: skip
            q, overlap = solution.q[0], float(solution.iou[0])
        return q, overlap

    def fit(
        self, starts: list[np.ndarray], target: np.ndarray, near: Near | None, enough: float = 1.0
    ) -> tuple[np.ndarray, float]:
        """The best of several starts at the middle level: joints, and the IoU less a little for distance from `near`.

        The start that fits best is followed at once; unless that reaches `enough`, all start at the coarsest level.
        """
        pyramid = self.pyramid(target)
        best = max(starts, key=lambda q: self.overlap(q, pyramid[1]))
        q, overlap = self.refine(best, pyramid, 1, 2, near)
        if self.score(q, overlap, near) >= enough:
            return q, self.score(q, overlap, near)
        tried = [(q, overlap)] + [self.refine(start, pyramid, 0, 2, near) for start in starts]
        q, overlap = max(tried, key=lambda one: self.score(one[0], one[1], near))
        return q, self.score(q, overlap, near)

    def overlap(self, q: np.ndarray, target: np.ndarray) -> float:
        """IoU of joints q (n,) with a target of the middle level."""
        at = self.models[1], q, self.views[1], target, self.channels, self.levels[1]
        return evaluate(*at, trust=self.trust[1]).iou

    def score(self, q: np.ndarray, overlap: float, near: Near | None) -> float:
        """IoU less a penalty of 0.01 per mean squared standard deviation from `near`."""
        return overlap if near is None else overlap - 0.01 * float(np.mean(((q - near.q) / near.sigma) ** 2))

    def search(self, near: np.ndarray, target: np.ndarray, rng: np.random.Generator, spread: float) -> list[np.ndarray]:
        """Joints worth a start, found by breeding low-resolution silhouettes around `near` (n,)."""
        low = shrink(target, COARSE)
        search = Search(
            self.search_model, low[None], self.channels, self.limits, self.views[0].K, True, self.rest,
            T=self.views[0].T_cam_base,
        )  # fmt: skip
        pool = search.around(near, 1500, spread, self.free, rng).best(100)
        for step in (spread / 2, spread / 3, spread / 5):
            pool = search.breed(pool, 10, step, rng, self.free).distinct(100, 0.05)
        return list(pool.distinct(6, 0.2).q)

    def information(self, q: np.ndarray, target: np.ndarray, pivot: np.ndarray) -> Frame:
        """The frame's normal equations at its joints, on the finest level; the camera turns about `pivot` (3,)."""
        view = self.views[-1]
        at = self.models[-1], q, view, target, self.channels, self.levels[-1]
        equations = evaluate(*at, pivot, self.trust[-1], exact=True)
        return Frame(q, equations.iou, equations)
