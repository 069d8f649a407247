"""Blurred silhouettes against masks: the cost of one picture of the robot, and its normal equations.

The residual of a frame is blur(coverage of the model) - blur(mask), per channel. The blur lets a boundary feel a mask
that it does not touch yet; its width, with the image size, shrinks from level to level. Residuals are weighted
robustly (Geman-McClure), so that mask regions which no link explains lose their pull. Masks that are a little too fat
or thin everywhere would bias distance and joints: how far their outlines lie outside the robot's is an unknown, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numba import get_num_threads
from scipy.spatial.transform import Rotation

from pose.kernel import CAMERA_PARAMETERS, Model, see
from pose.look_kernel import blurred, boundary, curvature, difference, gradient, label, observe, pairs, weigh

# What the masks are believed to be worth, for priors and uncertainty (notes in `pose/uncertainty.py`):
CONTOUR_NOISE = 1.0  # pixels at 640 pixels of image width
CORRELATION = 15.0  # pixels along the contour between independent samples, at the same width
OFFSET = 1.0  # pixels by which a mask's outline may lie outside or inside the robot's (standard deviation), likewise
CHANNELS = 2  # at most
SHARED = CAMERA_PARAMETERS + CHANNELS  # what all frames have in common: the camera, and an offset per channel

EVERYWHERE = np.zeros((0, 0), np.float32)  # masks are believed


@dataclass(frozen=True)
class Level:
    """One step of the coarse-to-fine schedule.

    Attributes:
        width: longest side of the working image in pixels.
        blur: standard deviation of the blur in pixels of the working image.
        robust: residual at which a pixel has lost 3/4 of its weight (a residual lies in -1..1).
        samples: rendered samples along a pixel's side.
        zoom: how many times larger the picture is of which the working image shows a part.
    """

    width: int
    blur: float
    robust: float = 1.0
    samples: int = 2
    zoom: float = 1.0


@dataclass(frozen=True)
class View:
    """The camera of a working image, intrinsics without skew or distortion, and how masks lie in it.

    `offset` (2,) is how far each channel's outline lies outside the robot's, in pixels at 640 pixels of image width.
    """

    width: int
    height: int
    K: np.ndarray
    T_cam_base: np.ndarray
    offset: np.ndarray = field(default_factory=lambda: np.zeros(CHANNELS))

    @property
    def unit(self) -> float:
        """Pixels of this image to a pixel at 640 pixels of image width."""
        return max(self.width, self.height) / 640


@dataclass(frozen=True)
class Equations:
    """Normal equations of one frame: cost + 2 g.d + d.H.d, all in units of the masks' variance."""

    cost: float
    H: np.ndarray
    g: np.ndarray
    iou: float


def information(level: Level) -> float:
    """Weight that makes a sum of squared residuals a squared Mahalanobis distance.

    A boundary displaced by e pixels along a length ds leaves e^2 / (2 blur sqrt(pi)) ds of squared residual; one
    independent measurement of standard deviation CONTOUR_NOISE comes every CORRELATION pixels.
    """
    unit = level.zoom * level.width / 640
    return 2 * level.blur * np.sqrt(np.pi) / ((CONTOUR_NOISE * unit) ** 2 * CORRELATION * unit)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Soft intersection over union of two coverages in 0..1."""
    either = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / either if either > 0 else 1.0


def outline(target: np.ndarray) -> np.ndarray:
    """(C,H,W) how much a coverage (C,H,W) gains in each pixel when its outline moves outward by a pixel."""
    gy, gx = np.gradient(target, axis=(1, 2))
    return np.sqrt(gx**2 + gy**2)


def evaluate(
    model: Model, q: np.ndarray, view: View, target: np.ndarray, channels: np.ndarray, level: Level,
    pivot: np.ndarray | None = None, trust: np.ndarray | None = None, exact: bool = False,
) -> Equations:  # fmt: skip
    """Cost of one frame at joints q (n,), and with a pivot also its normal equations (SHARED + n parameters).

    `exact` spends more on H, which descent does not need but statements about errors do.

    target (C,H,W) is the frame's masks at the working size, channels (C,G) what each label of links counts in each;
    trust (H,W) in 0..1 says how far a pixel's mask is to be believed, in the overlap too.
    """
    # far from robot and mask nothing differs: only a window of the picture is looked at
    margin, scale = int(np.ceil(4 * level.blur)) + 1, level.samples
    (y0, y1, x0, x1), face_id, inv_depth, T_cam_joint = observe(
        model, q, view.T_cam_base, view.K, target, margin, scale
    )  # fmt: skip
    unit, count = level.zoom * view.unit, len(target)
    offset = (unit * view.offset[:count]).astype(np.float32)
    believed = EVERYWHERE if trust is None else trust
    labels = label(face_id, model.face_part)
    differs, grown, overlap = difference(labels, channels, scale, target, y0, x0, offset, believed)
    cost, pull, w = weigh(_blur(differs, level.blur), level.robust)
    weight, size = information(level), SHARED + len(q)
    if pivot is None:
        return Equations(weight * cost, np.zeros((size, size)), np.zeros(size), overlap)
    K = view.K.copy()
    K[0, 2] -= x0
    K[1, 2] -= y0
    pixels, J, normal = boundary(
        model, face_id, labels, pairs(labels), inv_depth, T_cam_joint, K, pivot, channels, scale, SHARED, size
    )
    amount = np.sqrt((normal**2).sum(2))
    for c in range(count):
        J[:, c, CAMERA_PARAMETERS + c] = unit * amount[:, c]
    # The blur is its own adjoint: sum of w r blur(J) = sum of blur(w r) J, so J itself need not be blurred ...
    pull = _blur(pull, level.blur)
    if trust is not None:
        J *= trust[y0 + pixels[:, 0], x0 + pixels[:, 1], None, None]
        pull *= trust[y0:y1, x0:x1]
    g = weight * gradient(pixels, J, pull)
    g[CAMERA_PARAMETERS : CAMERA_PARAMETERS + count] = weight * unit * (grown * pull).sum((1, 2))
    # ... and where a boundary is longer than the blur is wide, the product of two blurred boundaries is a constant.
    if exact:
        H = weight * _product(J, pixels, w, level.blur)
    else:
        H = weight / (2 * level.blur * np.sqrt(np.pi)) * curvature(pixels, J, w, amount, 0.5 / scale)
    return Equations(weight * cost, H, g, overlap)


def residual(
    model: Model, q: np.ndarray, view: View, target: np.ndarray, channels: np.ndarray, level: Level,
    trust: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """(C,H,W) robustly weighted, blurred difference of the model's and the masks' coverage, their offset taken out."""
    face_id, _, _ = see(model, q, view.T_cam_base, view.K, view.height, view.width, level.samples)
    offset = (level.zoom * view.unit * view.offset[: len(target)]).astype(np.float32)
    labels, believed = label(face_id, model.face_part), EVERYWHERE if trust is None else trust
    differs, _, _ = difference(labels, channels, level.samples, target, 0, 0, offset, believed)
    error = _blur(differs, level.blur)
    return error / (1 + error**2 / level.robust**2)


def _product(J: np.ndarray, pixels: np.ndarray, w: np.ndarray, blur: float) -> np.ndarray:
    """(P,P) weighted products of the blurred images of the columns of J (N,C,P)."""
    out = np.zeros((J.shape[2],) * 2)
    for c in range(J.shape[1]):
        used = np.flatnonzero(J[:, c].any(0))
        rows = blurred(pixels, J[:, c, used].astype(np.float32), w[c], blur)
        out[np.ix_(used, used)] += rows.T @ rows
    return out


def _blur(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Every plane of (C,h,w) blurred; beyond the border there is nothing."""
    out = np.empty_like(planes)
    for plane, end in zip(planes, out):
        cv2.GaussianBlur(plane, (0, 0), sigma, dst=end, borderType=cv2.BORDER_CONSTANT)
    return out


def parallel(job: Callable, items: Sequence) -> list:
    """job(item) of every item, on as many threads as numba may use: the compiled parts run beside each other."""
    threads = min(get_num_threads(), len(items))
    if threads < 2:
        return [job(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, items))


def move(view: View, step: np.ndarray, pivot: np.ndarray) -> View:
    T = np.eye(4)
    R = Rotation.from_rotvec(step[:3]).as_matrix()
    T[:3, :3] = R
    T[:3, 3] = pivot - R @ pivot + step[3:6]
    K = view.K.copy()
    K[0, 0] *= np.exp(step[6])
    K[1, 1] *= np.exp(step[6])
    return View(view.width, view.height, K, T @ view.T_cam_base, view.offset + step[CAMERA_PARAMETERS:SHARED])
