"""Joints frame by frame, with the camera known: follow the motion, and search again where the trail is lost."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pose.descend import descend
from pose.kernel import Model, link_poses, project
from pose.solver import Equations, Level, View, evaluate
from pose.start import Search
from pose.targets import shrink

COARSE = Level(80, 2.0, samples=2)
MIDDLE = Level(160, 1.5, robust=0.7, samples=2)
FINE = Level(400, 1.5, robust=0.5, samples=2)
PYRAMID = (COARSE, MIDDLE, FINE)
MARGIN = 1.6  # of a search's picture around the links that move
CLOSE = 72  # its longer side in pixels


@dataclass(frozen=True)
class Near:
    """Where the joints are expected: mean (n,) and standard deviation (n,)."""

    q: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class Frame:
    """One fitted frame: joints (n,), IoU, cost, and its normal equations at the finest level once they are known."""

    q: np.ndarray
    iou: float
    cost: float
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
        for i in range(first, len(self.levels) if stop is None else stop):
            q, seen = self.descend(q, pyramid[i], i, near)
            overlap = seen.iou
        return q, overlap

    def descend(
        self, q: np.ndarray, target: np.ndarray, level: int, near: Near | None = None
    ) -> tuple[np.ndarray, Equations]:
        """Joints after Levenberg-Marquardt from q (n,) on one level, whose target this is, and what is seen there."""
        prior = None if near is None else (near.q, 1 / near.sigma**2)
        return descend(
            self.models[level], q, self.views[level], target, self.channels, self.levels[level], self.free, self.limits,
            prior=prior, trust=self.trust[level], iterations=(25, 12, 6)[level], tolerance=(5e-3, 5e-3, 1e-3)[level],
        )  # fmt: skip

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

    def cost(self, q: np.ndarray, target: np.ndarray) -> float:
        """Cost of joints q (n,) for a target of the middle level."""
        at = self.models[1], q, self.views[1], target, self.channels, self.levels[1]
        return evaluate(*at, trust=self.trust[1]).cost

    def score(self, q: np.ndarray, overlap: float, near: Near | None) -> float:
        """IoU less a penalty of 0.01 per mean squared standard deviation from `near`."""
        return overlap if near is None else overlap - 0.01 * float(np.mean(((q - near.q) / near.sigma) ** 2))

    def search(self, near: np.ndarray, target: np.ndarray, rng: np.random.Generator, spread: float) -> list[np.ndarray]:
        """Joints worth a start, like `near` (n,) but for the free ones, bred on small silhouettes.

        The small picture shows only the links that the free joints move: a hand would be a few pixels of the whole.

        Args:
            target: (C,H,W) masks at the finest level.
            spread: standard deviation of the first guesses in radians.
        """
        close = self._close(near, target)
        if close is None:
            return []
        small, K = close
        search = Search(
            self.search_model, small[None], self.channels, self.limits, K, True, self.rest, T=self.views[-1].T_cam_base
        )  # fmt: skip
        pool = search.around(near, 1000, spread, self.free, rng).best(80)
        for step in (spread / 2, spread / 3, spread / 5):
            pool = search.breed(pool, 8, step, rng, self.free).distinct(80, 0.05)
        return list(pool.distinct(6, 0.2).q)

    def _close(self, q: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """A small picture (C,h,w) of what the free joints move at q, and its K; None when that is out of view."""
        view, model = self.views[-1], self.models[0]
        moved = np.zeros(len(model.parent), bool)
        for link, parent in enumerate(model.parent):
            own = model.q_index[link] >= 0 and self.free[model.q_index[link]]
            moved[link] = own or (parent >= 0 and moved[parent])
        uv, inv_z = project(model, link_poses(model, q, view.T_cam_base)[0], view.K)
        points = uv[moved[model.vertex_link] & (inv_z > 0)]
        if not len(points):
            return None
        centre, half = (points.min(0) + points.max(0)) / 2, MARGIN * max(12.0, np.ptp(points, axis=0).max() / 2)
        height, width = target.shape[1:]
        x0, y0 = (int(np.clip(v, 0, limit - 8)) for v, limit in zip(centre - half, (width, height)))
        x1, y1 = (int(np.clip(v, 8, limit)) for v, limit in zip(centre + half + 1, (width, height)))
        if x1 - x0 < 8 or y1 - y0 < 8:
            return None
        scale = CLOSE / max(x1 - x0, y1 - y0)
        size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
        small = np.stack([cv2.resize(plane[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA) for plane in target])
        sx, sy = size[0] / (x1 - x0), size[1] / (y1 - y0)
        K = view.K.copy()  # pixel centres are at whole numbers: the picture's corner is at -0.5
        K[0] = [sx * K[0, 0], 0, sx * (K[0, 2] - x0 + 0.5) - 0.5]
        K[1] = [0, sy * K[1, 1], sy * (K[1, 2] - y0 + 0.5) - 0.5]
        return small, K

    def information(self, q: np.ndarray, target: np.ndarray, pivot: np.ndarray) -> Frame:
        """The frame's normal equations at its joints, on the finest level; the camera turns about `pivot` (3,)."""
        view = self.views[-1]
        at = self.models[-1], q, view, target, self.channels, self.levels[-1]
        equations = evaluate(*at, pivot, self.trust[-1], exact=True)
        # a quality is of the whole mask, also of what is not believed
        overlap = equations.iou if self.trust[-1] is None else evaluate(*at).iou
        return Frame(q, overlap, equations.cost, equations)
