"""Where to begin when camera or joints are unknown: thousands of low-resolution guesses, the best of them bred.

A guess is a viewing direction, a roll, joints and a focal length; its distance and position follow from the mask's
bounding box. Guesses are scored by the overlap of silhouettes some 60 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from scipy.spatial.transform import Rotation

from pose.kernel import Model, link_poses, project
from pose.many import overlaps
from pose.priors import PosePrior

# Arms in pictures stand upright and are seen from the side or above; some cameras hang upside down.
ELEVATION = np.deg2rad([-15.0, 80.0])
UPRIGHT_SHARE, UPRIGHT_ROLL = 0.85, np.deg2rad(8.0)
FIELD_OF_VIEW = np.deg2rad([38.0, 95.0])


@dataclass(frozen=True)
class Guesses:
    """N hypotheses of one or several frames: joints (N,n), T_cam_base (N,4,4), K (N,3,3), score (N,)."""

    q: np.ndarray
    T: np.ndarray
    K: np.ndarray
    score: np.ndarray

    def __getitem__(self, index) -> Guesses:
        return Guesses(self.q[index], self.T[index], self.K[index], self.score[index])

    def best(self, count: int) -> Guesses:
        """The `count` highest scores, best first."""
        return self[np.argsort(-self.score, kind="stable")[:count]]

    def distinct(self, count: int, angle: float = 0.35) -> Guesses:
        """The best guesses of which no two agree in camera direction and joints to within `angle` radians."""
        order = np.argsort(-self.score, kind="stable")
        kept = _distinct(np.ascontiguousarray(self.q[order]), np.ascontiguousarray(self.T[order]), angle, count)
        return self[order[kept]]


@njit(cache=True, nogil=True)
def _distinct(q, T, angle, count):
    kept = np.empty(count, np.int64)
    found = 0
    least = 1.0 + 2.0 * np.cos(angle)  # the trace of a rotation by `angle`
    for i in range(q.shape[0]):
        new = True
        for j in kept[:found]:
            if np.sum(T[i, :3, :3] * T[j, :3, :3]) > least and np.max(np.abs(q[i] - q[j])) < angle:
                new = False
                break
        if new:
            kept[found] = i
            found += 1
            if found == count:
                break
    return kept[:found]


@dataclass(frozen=True)
class Box:
    """Bounding box of a mask (pixel edges x0, y0, x1, y1) and which of its sides the image border cuts off."""

    sides: np.ndarray
    cut: np.ndarray


def mask_box(mask: np.ndarray) -> Box | None:
    """The box of a mask (H,W) at the working size, None when it is empty."""
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    if not len(rows):
        return None
    h, w = mask.shape
    sides = np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])
    cut = np.array([columns[0] == 0, rows[0] == 0, columns[-1] == w - 1, rows[-1] == h - 1])
    return Box(sides, cut)


@njit(cache=True, parallel=True, nogil=True)
def place(model, qs, Rs, Ks, sides, cut, shrink):
    """Translations that put the projected robots into a box: T_cam_base (N,4,4) for orientations Rs (N,3,3).

    Sides cut off by the border bind nothing; where no extent is known, `shrink` (N,) picks the size in box sizes.
    """
    count = qs.shape[0]
    out = np.zeros((count, 4, 4))
    for i in prange(count):
        T = np.eye(4)
        T[:3, :3] = Rs[i]
        K = Ks[i]
        T[2, 3] = 2.5
        for _ in range(5):
            uv, inv_z = project(model, link_poses(model, qs[i], T)[0], K)
            low = np.full(2, 1e9)
            high = np.full(2, -1e9)
            for v in range(uv.shape[0]):
                if inv_z[v] > 0:
                    for a in range(2):
                        low[a] = min(low[a], uv[v, a])
                        high[a] = max(high[a], uv[v, a])
            ratio, known = 0.0, 0
            for a in range(2):
                if not cut[a] and not cut[a + 2] and sides[a + 2] > sides[a] and high[a] > low[a]:
                    ratio += np.log((high[a] - low[a]) / (sides[a + 2] - sides[a]))
                    known += 1
            if known == 0:
                extent = max(high[0] - low[0], high[1] - low[1])
                ratio = np.log(extent / (max(sides[2] - sides[0], sides[3] - sides[1]) * shrink[i]))
                known = 1
            T[2, 3] = min(10.0, max(0.25, T[2, 3] * np.exp(ratio / known)))
            for a in range(2):
                # the sides that are seen say where the robot is; with none, its middle
                if cut[a] and not cut[a + 2]:
                    shift = sides[a + 2] - high[a]
                elif cut[a + 2] and not cut[a]:
                    shift = sides[a] - low[a]
                else:
                    shift = 0.5 * (sides[a] + sides[a + 2] - low[a] - high[a])
                T[a, 3] += shift * T[2, 3] / K[a, a]
        out[i] = T
    return out


def look(azimuth: np.ndarray, elevation: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Orientations R_cam_base (N,3,3) of cameras that look at the base from the given side (radians, Z up)."""
    forward = -np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1
    )
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], -2)
    return Rotation.from_euler("z", np.atleast_1d(roll)[:, None]).as_matrix() @ R


def toward(box: Box, K: np.ndarray) -> np.ndarray:
    """Rotations (N,3,3) that turn the optical axis to the middle of the box."""
    centre = (box.sides[:2] + box.sides[2:]) / 2
    ray = np.concatenate([(centre - K[:, :2, 2]) / K[:, [0, 1], [0, 1]], np.ones((len(K), 1))], 1)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * np.arcsin(np.clip(sine, 0, 1))).as_matrix()


@dataclass(frozen=True)
class Search:
    """What a search knows: model, low-resolution masks (F,C,h,w), channels, limits, and the known parts.

    Attributes:
        K: (3,3) at the low resolution; with `focal_known` False only its principal point holds.
        q: (F,n) joints, or None when they are unknown; then only the frame `base` is searched.
        T: (4,4) known camera pose, or None.
        rest: (n,) likely joints around which most guesses lie.
        free: (n,) joints that are unknown; the others are as `rest` has them. None: all.
        near: where the camera is believed to be, when T is unknown.
        zoom: how many times larger the picture is of which the masks are a part.
    """

    model: Model
    targets: np.ndarray
    channels: np.ndarray
    limits: tuple[np.ndarray, np.ndarray]
    K: np.ndarray
    focal_known: bool
    rest: np.ndarray
    q: np.ndarray | None = None
    T: np.ndarray | None = None
    base: int = 0
    free: np.ndarray | None = None
    near: PosePrior | None = None
    zoom: float = 1.0

    def score(self, guesses: Guesses) -> Guesses:
        """The guesses with their overlap, averaged over channels, and over frames when the joints are known."""
        count = len(guesses.q)
        if self.q is None:
            frame = np.full(count, self.base)
            q, T, K = guesses.q, guesses.T, guesses.K
        else:
            frames = len(self.q)
            frame = np.tile(np.arange(frames), count)
            q = np.ascontiguousarray(np.tile(self.q, (count, 1)))
            T, K = np.repeat(guesses.T, frames, 0), np.repeat(guesses.K, frames, 0)
        each = overlaps(self.model, np.ascontiguousarray(q), T, K, self.targets, frame, self.channels)
        weights = np.r_[1.0, np.full(len(self.channels) - 1, 0.5)]
        return replace(guesses, score=(each @ weights / weights.sum()).reshape(count, -1).mean(1))

    def sample(self, count: int, rng: np.random.Generator) -> Guesses:
        """Fresh guesses over everything that is unknown."""
        K = np.tile(self.K, (count, 1, 1))
        if not self.focal_known:
            h, w = self.targets.shape[-2:]
            focal = (
                self.zoom
                * max(h, w)
                / 2
                / np.tan(np.exp(rng.uniform(np.log(FIELD_OF_VIEW[0]), np.log(FIELD_OF_VIEW[1]), count)) / 2)
            )
            K[:, 0, 0] = K[:, 1, 1] = focal
        q = self._joints(count, rng)
        if self.T is not None:
            return self.score(Guesses(q, np.tile(self.T, (count, 1, 1)), K, np.zeros(count)))
        if self.near is not None:
            return self.score(
                Guesses(q, self._near(np.tile(self.near.T_cam_base, (count, 1, 1)), 1.0, rng), K, np.zeros(count))
            )
        elevation = np.arcsin(rng.uniform(np.sin(ELEVATION[0]), np.sin(ELEVATION[1]), count))
        upright = rng.random(count) < UPRIGHT_SHARE
        roll = np.where(upright, rng.normal(0, UPRIGHT_ROLL, count), rng.uniform(-np.pi, np.pi, count))
        R = look(rng.uniform(-np.pi, np.pi, count), elevation, roll)
        return self.score(self._placed(q, R, K, rng, turn=True))

    def around(self, q: np.ndarray, count: int, spread: float, free: np.ndarray, rng: np.random.Generator) -> Guesses:
        """Guesses with the known camera and joints near q (n,); only the joints `free` (n,) vary."""
        scale = np.minimum(1.0, (self.limits[1] - self.limits[0]) / 3) * free
        mutated = rng.random((count, len(q))) < 0.5
        mutated[0] = False
        qs = np.clip(q + mutated * rng.normal(0, spread, (count, len(q))) * scale, *self.limits)
        K, T = np.tile(self.K, (count, 1, 1)), np.tile(np.asarray(self.T, float), (count, 1, 1))
        return self.score(Guesses(qs, T, K, np.zeros(count)))

    def breed(
        self, parents: Guesses, children: int, spread: float, rng: np.random.Generator, free: np.ndarray | None = None
    ) -> Guesses:
        """The parents and their mutated children; `spread` is the joints' mutation in radians."""
        free = self.free if free is None else free
        index = np.repeat(np.arange(len(parents.q)), children)
        q, T, K = parents.q[index], parents.T[index], parents.K[index].copy()
        if self.q is None:
            # few joints at a time: a good guess is wrong in one or two
            mutated = rng.random(q.shape) < 0.4
            scale = np.minimum(1.0, (self.limits[1] - self.limits[0]) / 3)
            scale = scale if free is None else scale * free
            q = np.clip(q + mutated * rng.normal(0, spread, q.shape) * scale, *self.limits)
        if not self.focal_known:
            factor = np.exp(rng.normal(0, spread / 3, len(K)))
            K[:, 0, 0] *= factor
            K[:, 1, 1] *= factor
        if self.near is not None and self.T is None:
            born = self.score(Guesses(q, self._near(T, spread / 2, rng), K, np.zeros(len(T))))
        elif self.T is None:
            R = Rotation.from_rotvec(rng.normal(0, spread / 2, (len(T), 3))).as_matrix() @ T[:, :3, :3]
            born = self.score(self._placed(q, R, K, rng, turn=False))
        else:
            born = self.score(Guesses(q, T, K, np.zeros(len(T))))
        return Guesses(*(np.concatenate([getattr(parents, n), getattr(born, n)]) for n in ("q", "T", "K", "score")))

    def run(self, count: int, keep: int, rng: np.random.Generator, rounds: int = 5) -> Guesses:
        """Sample, then breed; returns `keep` distinct guesses, best first."""
        pool = self.sample(count, rng).best(300)
        for spread in np.geomspace(0.5, 0.12, rounds):
            pool = self.breed(pool, 15, spread, rng).distinct(150, 0.08)
        return pool.distinct(keep)

    def _joints(self, count: int, rng: np.random.Generator) -> np.ndarray:
        if self.q is not None:
            return np.tile(self.q[self.base], (count, 1))
        low, high = self.limits
        near = np.clip(self.rest + rng.normal(0, 0.7, (count, len(low))) * np.minimum(1.0, (high - low) / 3), low, high)
        anywhere = rng.uniform(low, high, (count, len(low)))
        out = np.where(rng.random((count, 1)) < 0.6, near, anywhere)
        return out if self.free is None else np.where(self.free, out, self.rest)

    def _near(self, T: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Poses (N,4,4) spread about others by a share of the prior's deviations; they turn about the base."""
        assert self.near is not None
        out = T.copy()
        turn = Rotation.from_rotvec(rng.normal(0, share * self.near.rotation, (len(T), 3))).as_matrix()
        out[:, :3, :3] = turn @ T[:, :3, :3]
        out[:, :3, 3] += rng.normal(0, share * self.near.translation, (len(T), 3))
        return out

    def _placed(self, q, R, K, rng: np.random.Generator, turn: bool) -> Guesses:
        box = mask_box(self.targets[self.base, 0])
        if box is None:
            raise ValueError("the base frame of a search has an empty mask")
        if turn:
            R = toward(box, K) @ R
        shrink = np.exp(rng.uniform(np.log(1.0), np.log(2.5), len(q)))
        T = place(self.model, np.ascontiguousarray(q), np.ascontiguousarray(R), K, box.sides, box.cut, shrink)
        return Guesses(q, T, K, np.zeros(len(q)))
