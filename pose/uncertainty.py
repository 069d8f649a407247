"""What the masks determine and how well: covariances from the normal equations of the fit.

Mask errors are errors of the contour, alike over some 15 pixels, so a contour carries one independent measurement per
that length (`solver.information`). Where the model explains the mask worse than such noise would, the errors are taken
to be that much larger.
"""

from __future__ import annotations

import numpy as np

from pose.solver import CORRELATION, Level

UNTOLD = 1e-12  # of the best told direction's information: less is rounding
OBSERVABLE = 0.1  # rad (6 degrees); slides: the same share of their range as this is of 1.4 rad


def contour_length(target: np.ndarray) -> float:
    """Length in pixels of the outlines of coverages (C,H,W): the integral of the gradient's magnitude."""
    gy, gx = np.gradient(target.astype(np.float32), axis=(1, 2))
    return float(np.sqrt(gx**2 + gy**2).sum())


def misfit(cost: float, target: np.ndarray, level: Level) -> float:
    """By what factor the variance of the contour exceeds the assumed one (at least 1)."""
    independent = contour_length(target) / (CORRELATION * level.zoom * level.width / 640)
    return max(1.0, cost / max(independent, 1.0))


def prior_information(limits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(n,) information of "somewhere between the limits": a uniform distribution's."""
    return 12 / np.maximum(limits[1] - limits[0], 1e-6) ** 2


def joint_scale(limits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(n,) size of each joint's unit: 1 for rotations of ordinary range, less for short slides."""
    return np.minimum(1.0, (limits[1] - limits[0]) / 1.4)


def observable(sigma: np.ndarray, limits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(T,n) whether a standard deviation is small enough to call the joint seen."""
    return sigma < OBSERVABLE * joint_scale(limits)


def marginal(H: np.ndarray, first: int, count: int, free: np.ndarray) -> np.ndarray:
    """Covariance of parameters first..first+count-1 of normal equations H over the free ones; zeros where fixed.

    What H does not tell at all has a large variance, not the zero that a pseudo-inverse would give it.
    """
    index = np.flatnonzero(free)
    out = np.zeros((len(free),) * 2)
    if len(index):
        values, vectors = np.linalg.eigh(H[np.ix_(index, index)])
        values = np.maximum(values, UNTOLD * max(values[-1], 1e-12))
        out[np.ix_(index, index)] = (vectors / values) @ vectors.T
    return out[first : first + count, first : first + count]
