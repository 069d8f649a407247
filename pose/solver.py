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

from pose.kernel import CAMERA_PARAMETERS, Model, boundary, coverage, see, window

# What the masks are believed to be worth, for priors and uncertainty (notes in `pose/uncertainty.py`):
CONTOUR_NOISE = 1.0  # pixels at 640 pixels of image width
CORRELATION = 15.0  # pixels along the contour between independent samples, at the same width
OFFSET = 1.0  # pixels by which a mask's outline may lie outside or inside the robot's (standard deviation), likewise
CHANNELS = 2  # at most
SHARED = CAMERA_PARAMETERS + CHANNELS  # what all frames have in common: the camera, and an offset per channel


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
    K, scale, margin = view.K.copy(), level.samples, int(np.ceil(4 * level.blur)) + 1
    y0, y1, x0, x1 = window(model, q, view.T_cam_base, K, target, margin)
    K[0, 2] -= x0
    K[1, 2] -= y0
    target = target[:, y0:y1, x0:x1]
    trust = None if trust is None else trust[y0:y1, x0:x1]
    face_id, inv_depth, T_cam_joint = see(model, q, view.T_cam_base, K, y1 - y0, x1 - x0, scale)
    covered = coverage(face_id, model.face_part, channels, scale)
    overlap = iou(covered, target) if trust is None else iou(trust * covered, trust * target)
    difference = covered - target
    grown = outline(target) if pivot is not None or view.offset.any() else target
    unit = level.zoom * view.unit
    if view.offset.any():
        difference += (unit * view.offset[: len(target)]).astype(np.float32)[:, None, None] * grown
    if trust is not None:
        difference *= trust
    error = _blur(difference.transpose(1, 2, 0), level.blur)
    ratio = 1 / (1 + error**2 / level.robust**2)
    weight = information(level)
    cost = weight * float((error**2 * ratio).sum())
    size = SHARED + len(q)
    if pivot is None:
        return Equations(cost, np.zeros((size, size)), np.zeros(size), overlap)
    pixels, motion, normal = boundary(
        model, face_id, inv_depth, T_cam_joint, K, pivot, channels, scale, CAMERA_PARAMETERS + len(q)
    )  # fmt: skip
    rows, columns = pixels.T
    amount = np.linalg.norm(normal, axis=2)
    J = np.zeros((len(pixels), len(target), size))
    J[:, :, :CAMERA_PARAMETERS], J[:, :, SHARED:] = motion[..., :CAMERA_PARAMETERS], motion[..., CAMERA_PARAMETERS:]
    for c in range(len(target)):
        J[:, c, CAMERA_PARAMETERS + c] = unit * amount[:, c]
    # The blur is its own adjoint: sum of w r blur(J) = sum of blur(w r) J, so J itself need not be blurred ...
    w = ratio**2
    pull = _blur(w * error, level.blur)
    if trust is not None:
        J *= trust[rows, columns, None, None]
        pull *= trust[..., None]
    g = weight * np.einsum("ncp,nc->p", J, pull[rows, columns])
    g[CAMERA_PARAMETERS : CAMERA_PARAMETERS + len(target)] = weight * unit * np.einsum("chw,hwc->c", grown, pull)
    # ... and where a boundary is longer than the blur is wide, the product of two blurred boundaries is a constant.
    if exact:
        H = weight * _product(J, rows, columns, w, level.blur)
    else:
        A = J * np.sqrt(w[rows, columns] / np.maximum(amount, 0.5 / scale))[..., None]
        A = A.reshape(-1, size)
        H = weight / (2 * level.blur * np.sqrt(np.pi)) * (A.T @ A)
    return Equations(cost, H, g, overlap)


def residual(
    model: Model, q: np.ndarray, view: View, target: np.ndarray, channels: np.ndarray, level: Level,
    trust: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """(H,W,C) robustly weighted, blurred difference of the model's and the masks' coverage, their offset taken out."""
    face_id, _, _ = see(model, q, view.T_cam_base, view.K, view.height, view.width, level.samples)
    offset = (level.zoom * view.unit * view.offset[: len(target)]).astype(np.float32)[:, None, None]
    difference = coverage(face_id, model.face_part, channels, level.samples) - target + offset * outline(target)
    if trust is not None:
        difference *= trust
    error = _blur(difference.transpose(1, 2, 0), level.blur)
    return error / (1 + error**2 / level.robust**2)


def _product(J: np.ndarray, rows: np.ndarray, columns: np.ndarray, w: np.ndarray, blur: float) -> np.ndarray:
    """(P,P) weighted products of the blurred images of the columns of J (N,C,P)."""
    out = np.zeros((J.shape[2],) * 2)
    for c in range(J.shape[1]):
        used = np.flatnonzero(np.abs(J[:, c]).max(0, initial=0.0) > 0)
        planes = np.empty((len(used), w.shape[0] * w.shape[1]), np.float32)
        for i, k in enumerate(used):
            image = np.zeros(w.shape[:2], np.float32)
            image[rows, columns] = J[:, c, k]
            planes[i] = (np.sqrt(w[..., c]) * _blur(image, blur)).ravel()
        out[np.ix_(used, used)] += planes @ planes.T
    return out


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    out = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return out.reshape(image.shape)


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
