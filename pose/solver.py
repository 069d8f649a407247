"""Levenberg-Marquardt on blurred silhouettes: several frames, one camera, any subset of the unknowns free.

The residual of a frame is blur(coverage of the model) - blur(mask), per channel. The blur lets a boundary feel a mask
that it does not touch yet; its width, with the image size, shrinks from level to level. Residuals are weighted
robustly (Geman-McClure), so that mask regions which no link explains lose their pull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pose.kernel import CAMERA_PARAMETERS, Model, boundary, coverage, link_poses, see

# What the masks are believed to be worth, for priors and uncertainty (notes in `pose/uncertainty.py`):
CONTOUR_NOISE = 1.0  # pixels at 640 pixels of image width
CORRELATION = 15.0  # pixels along the contour between independent samples, at the same width


@dataclass(frozen=True)
class Level:
    """One step of the coarse-to-fine schedule.

    Attributes:
        width: longest side of the working image in pixels.
        blur: standard deviation of the blur in pixels of the working image.
        robust: residual at which a pixel has lost 3/4 of its weight (a residual lies in -1..1).
        samples: rendered samples along a pixel's side.
    """

    width: int
    blur: float
    robust: float = 1.0
    samples: int = 2


@dataclass(frozen=True)
class View:
    """The camera of a working image: intrinsics without skew or distortion."""

    width: int
    height: int
    K: np.ndarray
    T_cam_base: np.ndarray


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
    unit = level.width / 640
    return 2 * level.blur * np.sqrt(np.pi) / ((CONTOUR_NOISE * unit) ** 2 * CORRELATION * unit)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Soft intersection over union of two coverages in 0..1."""
    either = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / either if either > 0 else 1.0


def evaluate(
    model: Model, q: np.ndarray, view: View, target: np.ndarray, channels: np.ndarray, level: Level,
    pivot: np.ndarray | None = None, trust: np.ndarray | None = None,
) -> Equations:  # fmt: skip
    """Cost of one frame at joints q (n,), and with a pivot also its normal equations (7 + n parameters).

    target (C,H,W) is the frame's masks at the working size, channels (C,2) what of arm, gripper each stands for;
    trust (H,W) in 0..1 says how far a pixel's mask is to be believed.
    """
    K, scale = view.K, level.samples
    face_id, inv_depth, T_cam_joint = see(model, q, view.T_cam_base, K, view.height, view.width, scale)
    covered = coverage(face_id, model.face_part, channels, scale)
    size = CAMERA_PARAMETERS + len(q)
    if trust is not None:
        covered, target = covered * trust, target * trust
    residual = _blur((covered - target).transpose(1, 2, 0), level.blur)
    ratio = 1 / (1 + residual**2 / level.robust**2)
    weight = information(level)
    cost = weight * float((residual**2 * ratio).sum())
    overlap = iou(covered, target)
    if pivot is None:
        return Equations(cost, np.zeros((size, size)), np.zeros(size), overlap)
    pixels, J, normal = boundary(
        model, face_id, inv_depth, T_cam_joint, K, pivot, channels, scale, size
    )  # fmt: skip
    # The blur is its own adjoint: sum of w r blur(J) = sum of blur(w r) J, so J itself need not be blurred ...
    w = ratio**2
    pull = _blur(w * residual, level.blur)[pixels[:, 0], pixels[:, 1]]
    if trust is not None:
        J = J * trust[pixels[:, 0], pixels[:, 1], None, None]
    g = weight * np.einsum("ncp,nc->p", J, pull)
    # ... and where a boundary is longer than the blur is wide, the product of two blurred boundaries is a constant.
    length = np.maximum(np.linalg.norm(normal, axis=2), 0.5 / scale)
    A = J * np.sqrt(w[pixels[:, 0], pixels[:, 1]] / length)[..., None]
    A = A.reshape(-1, size)
    H = weight / (2 * level.blur * np.sqrt(np.pi)) * (A.T @ A)
    return Equations(cost, H, g, overlap)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    out = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return out.reshape(image.shape)


@dataclass(frozen=True)
class Unknowns:
    """What a solve may change: entries of camera (7: twist, log focal) and of the joints (n)."""

    camera: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True)
class Solution:
    """Where a solve ended: joints (F,n), the view, cost and IoU of each frame, H over [camera, q_0, q_1, ...]."""

    q: np.ndarray
    view: View
    cost: np.ndarray
    iou: np.ndarray
    H: np.ndarray
    pivot: np.ndarray


def solve(
    model: Model, q: np.ndarray, view: View, targets: Sequence[np.ndarray], channels: np.ndarray, level: Level,
    unknowns: Unknowns, limits: tuple[np.ndarray, np.ndarray], *, iterations: int = 15,
    prior: tuple[np.ndarray, np.ndarray] | None = None, trust: np.ndarray | None = None, tolerance: float = 5e-3,
) -> Solution:  # fmt: skip
    """Refine camera and joints on one level.

    Args:
        q: (F,n) start, one row a frame; targets: F arrays (C,H,W) at the view's size.
        limits: lower and upper (n,).
        prior: mean (F,n) and information (n,), inverse squared standard deviations: a quadratic pull on the joints.
        trust: (H,W) how far each pixel's masks are to be believed, for all frames.
    """
    q = np.array(q, float)
    frames, joints = q.shape
    free = np.r_[unknowns.camera, np.tile(unknowns.joints, frames)].astype(bool)
    pivot = _pivot(model, q, view)
    equations = [evaluate(model, row, view, t, channels, level, pivot, trust) for row, t in zip(q, targets)]
    damping = 1e-2
    total = _total(equations, q, prior)
    for _ in range(iterations):
        H, g = _assemble(equations, q, prior)
        # a joint at its limit that is pushed further out stays there
        stuck = np.r_[
            np.zeros(CAMERA_PARAMETERS, bool),
            (((q <= limits[0]) & (g[CAMERA_PARAMETERS:].reshape(frames, joints) > 0))
             | ((q >= limits[1]) & (g[CAMERA_PARAMETERS:].reshape(frames, joints) < 0))).ravel(),
        ]  # fmt: skip
        active = np.flatnonzero(free & ~stuck & (np.diag(H) > 1e-9))
        if not len(active):
            break
        Ha, ga = H[np.ix_(active, active)], g[active]
        improved = False
        for _ in range(6):
            A = Ha + damping * np.diag(np.diag(Ha))
            step = np.zeros(len(g))
            step[active] = -np.linalg.solve(A + 1e-9 * np.eye(len(active)), ga)
            step *= min(1.0, 0.5 / max(1e-12, np.abs(np.delete(step, [3, 4, 5])).max()))
            q_new = np.clip(q + step[CAMERA_PARAMETERS:].reshape(frames, joints), *limits)
            q_new = np.where(unknowns.joints, q_new, q)
            view_new = _move(view, step[:CAMERA_PARAMETERS], pivot)
            trial = [
                evaluate(model, q_new[f], view_new, targets[f], channels, level, None, trust) for f in range(frames)
            ]
            total_new = _total(trial, q_new, prior)
            if total_new < total:
                improved = True
                break
            damping *= 5
        if not improved:
            break
        gain = (total - total_new) / max(total, 1e-12)
        q, view, total = q_new, view_new, total_new
        damping = max(1e-5, damping / 5)
        pivot = _pivot(model, q, view)
        equations = [evaluate(model, row, view, t, channels, level, pivot, trust) for row, t in zip(q, targets)]
        if gain < tolerance:
            break
    H, _ = _assemble(equations, q, prior)
    return Solution(
        q, view, np.array([e.cost for e in equations]), np.array([e.iou for e in equations]), H, pivot
    )  # fmt: skip


def _total(equations: list[Equations], q: np.ndarray, prior) -> float:
    total = sum(e.cost for e in equations)
    return total if prior is None else total + float(((q - prior[0]) ** 2 * prior[1]).sum())


def _assemble(equations: list[Equations], q: np.ndarray, prior) -> tuple[np.ndarray, np.ndarray]:
    frames, joints = q.shape
    c = CAMERA_PARAMETERS
    H, g = np.zeros((c + frames * joints,) * 2), np.zeros(c + frames * joints)
    for f, e in enumerate(equations):
        s = slice(c + f * joints, c + (f + 1) * joints)
        H[:c, :c] += e.H[:c, :c]
        H[:c, s] += e.H[:c, c:]
        H[s, :c] += e.H[c:, :c]
        H[s, s] += e.H[c:, c:]
        g[:c] += e.g[:c]
        g[s] += e.g[c:]
    if prior is not None:
        mean, weight = prior
        H[range(c, len(g)), range(c, len(g))] += np.tile(weight, frames)
        g[c:] += ((q - mean) * weight).ravel()
    return H, g


def _pivot(model: Model, q: np.ndarray, view: View) -> np.ndarray:
    """A point of the camera frame in the middle of the robot: the mean of its joints."""
    points = [link_poses(model, row, view.T_cam_base)[0][:, :3, 3] for row in q]
    return np.mean(np.concatenate(points), axis=0)


def _move(view: View, step: np.ndarray, pivot: np.ndarray) -> View:
    T = np.eye(4)
    R = Rotation.from_rotvec(step[:3]).as_matrix()
    T[:3, :3] = R
    T[:3, 3] = pivot - R @ pivot + step[3:6]
    K = view.K.copy()
    K[0, 0] *= np.exp(step[6])
    K[1, 1] *= np.exp(step[6])
    return View(view.width, view.height, K, T @ view.T_cam_base)
