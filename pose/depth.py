"""A depth picture against the posed mesh: residuals inside the silhouette, and their normal equations.

In every pixel that shows the robot, the measured inverse depth is held against that of the mesh: projective
point-to-plane distance (Blais and Levine 1995; Chen and Medioni 1992), in units in which a stereo camera errs alike
near and far (Keselman et al., "Intel RealSense stereoscopic depth cameras", CVPRW 2017). Gripped things, hands in front
and flying pixels lose their weight (Geman-McClure); borders of links, where near and far mix, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numba import njit

from pose.kernel import CAMERA_PARAMETERS, Model, link_poses, see, travel
from pose.solver import SHARED, View

DEPTH_SHARED = SHARED + 1  # what all frames have in common, with depth: the logarithm of the sensor's scale is the last
JUMP = 0.02  # relative change of depth that makes a border
BORDER = 3  # pixels at 640 of width around a border that are left out
GRAZING = 0.25  # cosine of the angle between ray and normal below which a surface is left out
STEP = 2  # pixels at 640 of width between samples
PATCH = 16  # pixels at 640 of width: side of the squares whose means tell the noise that neighbours share


@dataclass(frozen=True)
class Samples:
    """Where a depth picture sees the robot: N pixels.

    Attributes:
        pixels: (N,2) row and column. size: (height, width) of the picture.
        inverse: (N,) of the mesh, 1/m. residual: (N,) by how much it exceeds the measured one, 1/m.
        J: (N, DEPTH_SHARED + n) derivative of the residual.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    inverse: np.ndarray
    residual: np.ndarray
    J: np.ndarray

    @property
    def metres(self) -> np.ndarray:
        """(N,) by how much farther away than the mesh the measured surface is."""
        return self.residual / self.inverse**2

    def weights(self, reach: float) -> np.ndarray:
        """(N,) in 0..1; a sample `reach` metres off has lost 3/4."""
        return 1 / (1 + (self.metres / reach) ** 2) ** 2

    def equations(self, reach: float, variance: float) -> tuple[np.ndarray, np.ndarray]:
        """H and g of the normal equations; variance: of one sample, (1/m)^2."""
        w = self.weights(reach) / variance
        return self.J.T @ (w[:, None] * self.J), self.J.T @ (w * self.residual)

    def cost(self, reach: float, variance: float) -> float:
        """The robust cost that `equations` descend."""
        off = self.metres / reach
        return float((self.residual**2 / (1 + off**2)).sum() / variance)

    def patches(self, reach: float) -> np.ndarray:
        """(R,C) mean residuals in 1/m of squares of the picture, NaN where too few samples count."""
        side = max(2, round(PATCH * self.size[1] / 640))
        shape = self.size[0] // side + 1, self.size[1] // side + 1
        place = (self.pixels // side) @ [shape[1], 1]
        counts = self.weights(reach) > 0.25
        number = np.bincount(place, counts, shape[0] * shape[1])
        total = np.bincount(place, counts * self.residual, shape[0] * shape[1])
        full = number >= 0.5 * per_patch(self.size[1])
        return np.where(full, total / np.maximum(number, 1), np.nan).reshape(shape)


def step_of(width: int) -> int:
    """Pixels between samples."""
    return max(1, round(STEP * width / 640))


def per_patch(width: int) -> float:
    """How many samples a full square holds."""
    return (max(2, round(PATCH * width / 640)) / step_of(width)) ** 2


@njit(cache=True, nogil=True)
def _gather(model, face_id, inv_depth, T_cam_link, T_cam_joint, K, pivot, measured, allowed, step, border, parameters):
    """Row, column, inverse depth of the mesh (N,3), and derivatives (N,P) of the latter, of the samples."""
    height, width = face_id.shape
    capacity = (height // step + 1) * (width // step + 1)
    places, J = np.empty((capacity, 3)), np.empty((capacity, parameters))
    count = 0
    for y in range(border, height - border, step):
        for x in range(border, width - border, step):
            f = face_id[y, x]
            if f < 0 or measured[y, x] <= 0 or not allowed[y, x]:
                continue
            w = inv_depth[y, x]
            low, high = w, w
            for k in range(-1, 2, 2):
                a, b = inv_depth[y + k * border, x], inv_depth[y, x + k * border]
                low, high = min(low, min(a, b)), max(high, max(a, b))
            ux, uy = (x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]
            T = T_cam_link[model.face_link[f]]
            i, j, k = model.faces[f, 0], model.faces[f, 1], model.faces[f, 2]
            a = (model.vertices[j] - model.vertices[i]).astype(np.float64)
            b = (model.vertices[k] - model.vertices[i]).astype(np.float64)
            c = np.cross(a, b)
            normal = T[:3, 0] * c[0] + T[:3, 1] * c[1] + T[:3, 2] * c[2]
            size = np.sqrt((normal**2).sum())
            along = normal[0] * ux + normal[1] * uy + normal[2]
            if size <= 0 or abs(along) < GRAZING * size * np.sqrt(ux * ux + uy * uy + 1):
                continue
            # a slanted plane's own slope is no border
            if (high - low) > (JUMP + 2 * border / K[0, 0] * size / abs(along)) * w:
                continue
            Z = 1.0 / w
            g = -w * w / along * normal  # of the inverse depth in this pixel, when the surface moves
            travel(
                model, model.face_link[f], ux * Z, uy * Z, Z, g[0], g[1], g[2], T_cam_joint, pivot, parameters, J[count]
            )
            places[count, 0], places[count, 1], places[count, 2] = y, x, w
            count += 1
    return places[:count], J[:count]


def sample(
    model: Model, q: np.ndarray, view: View, depth: np.ndarray, pivot: np.ndarray, *, log_scale: float = 0.0,
    allowed: np.ndarray | None = None,
) -> Samples:  # fmt: skip
    """Hold a depth picture against the robot.

    Args:
        q: (n,) joints. view: the camera at the picture's own size. depth: (H,W) metres along z, 0 where unknown.
        pivot: (3,) that the camera's twist turns about, in its frame.
        log_scale: the true depth is exp(log_scale) times the measured one.
        allowed: (H,W) bool, pixels that may show the robot; all by default.
    """
    height, width = depth.shape
    T, K = np.asarray(view.T_cam_base, float), np.asarray(view.K, float)
    face_id, inv_depth, T_cam_joint = see(model, q, T, K, height, width, 1)
    if allowed is None:
        allowed = np.ones(depth.shape, bool)
    border = max(1, round(BORDER * width / 640))
    places, motion = _gather(
        model, face_id, inv_depth, link_poses(model, q, T)[0], T_cam_joint, K, pivot,
        np.ascontiguousarray(depth, np.float32), allowed, step_of(width), border, CAMERA_PARAMETERS + len(q),
    )  # fmt: skip
    pixels = places[:, :2].astype(int)
    measured = np.exp(-log_scale) / depth[pixels[:, 0], pixels[:, 1]].astype(float)
    J = np.zeros((len(places), DEPTH_SHARED + len(q)))
    J[:, :CAMERA_PARAMETERS], J[:, DEPTH_SHARED:] = motion[:, :CAMERA_PARAMETERS], motion[:, CAMERA_PARAMETERS:]
    J[:, SHARED] = measured
    return Samples(pixels, (height, width), places[:, 2], places[:, 2] - measured, J)


def inner(mask: np.ndarray) -> np.ndarray:
    """(H,W) bool: pixels of a mask that lie a border's width inside it."""
    side = 2 * max(1, round(BORDER * mask.shape[1] / 640)) + 1
    return cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def spread(patches: Sequence[np.ndarray]) -> float:
    """Standard deviation, 1/m, of the mean residual of a square (PATCH): what neighbours err together."""
    every = np.concatenate([p[np.isfinite(p)] for p in patches])
    return 1.4826 * float(np.median(np.abs(every))) if len(every) else float("nan")


def likeness(patches: Sequence[np.ndarray]) -> float:
    """Correlation of what is wrong with depth in pictures that follow each other; 0 without such."""
    both = alone = 0.0
    for a, b in pairwise(patches):
        known = np.isfinite(a) & np.isfinite(b)
        both += float((a[known] * b[known]).sum())
        alone += float(np.sqrt((a[known] ** 2).sum() * (b[known] ** 2).sum()))
    return both / max(alone, 1e-12)
