"""Joint angles over time: each frame's estimate with its information matrix, under a random acceleration.

The strength of the smoothing is not typed in: of a range of accelerations, the one under which the frames' estimates
are most probable is taken (empirical Bayes; the marginal likelihood of a linear Gaussian model, e.g. Bishop, Pattern
Recognition and Machine Learning, ch. 3.5).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.linalg import cho_solve_banded, cholesky_banded

ACCELERATIONS = np.geomspace(0.1, 300.0, 12)  # rad/s^2 (or m/s^2 after scaling by the joint's range)


def smooth(
    q: np.ndarray, information: np.ndarray, times: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Most probable joints given noisy estimates.

    Args:
        q: (T,n) estimates, NaN rows where there is none.
        information: (T,n,n) inverse covariance of each.
        times: (T,) seconds, increasing.
        scale: (n,) unit of each joint: 1 for a full-size rotation, smaller for a short slide.

    Returns:
        smoothed q (T,n), standard deviations (T,n), and the acceleration that was chosen.
    """
    _frames, _joints = q.shape
    known = np.isfinite(q).all(1)
    if known.sum() < 4:
        sigma = np.full(q.shape, np.nan)
        for t in np.flatnonzero(known):
            sigma[t] = np.sqrt(np.diag(np.linalg.inv(information[t])))
        return q.copy(), sigma, float("nan")
    index = np.flatnonzero(known)
    y, info = q[index], np.ascontiguousarray(information[index])
    weights = _second_differences(times[index])
    best = None
    for acceleration in ACCELERATIONS:
        band, rhs = _system(y, info, weights, acceleration * scale)
        factor = cholesky_banded(band, lower=True)
        x = cho_solve_banded((factor, True), rhs).reshape(y.shape)
        evidence = _evidence(x, y, info, weights, acceleration * scale, factor)
        if best is None or evidence > best[0]:
            best = evidence, acceleration, x, factor
    assert best is not None
    _, acceleration, x, factor = best
    out, sigma = np.full(q.shape, np.nan), np.full(q.shape, np.nan)
    out[index] = x
    sigma[index] = np.sqrt(_diagonal_of_inverse(factor)).reshape(x.shape)
    return out, sigma, float(acceleration)


def _second_differences(times: np.ndarray) -> np.ndarray:
    """Weights (T-2,3) of a second derivative at unequal steps."""
    a, b = np.diff(times)[:-1], np.diff(times)[1:]
    return np.stack([2 / (a * (a + b)), -2 / (a * b), 2 / (b * (a + b))], 1)


@njit(cache=True)
def _system(y, info, weights, deviation):
    """Lower band of the joint information matrix and its right-hand side."""
    frames, joints = y.shape
    band = np.zeros((3 * joints, frames * joints))
    rhs = np.zeros(frames * joints)
    for t in range(frames):
        s = t * joints
        rhs[s : s + joints] = info[t] @ y[t]
        for i in range(joints):
            for j in range(i + 1):
                band[i - j, s + j] += info[t, i, j]
    precision = 1 / deviation**2
    for t in range(weights.shape[0]):
        for i in range(3):
            for j in range(i + 1):
                s = (t + j) * joints
                band[(i - j) * joints, s : s + joints] += weights[t, i] * weights[t, j] * precision
    return band, rhs


def _evidence(x, y, info, weights, deviation, factor) -> float:
    d = x - y
    misfit = np.einsum("ti,tij,tj->", d, info, d)
    second = weights[:, 0, None] * x[:-2] + weights[:, 1, None] * x[1:-1] + weights[:, 2, None] * x[2:]
    roughness = ((second / deviation) ** 2).sum()
    log_prior = -2 * len(weights) * np.log(deviation).sum()
    return float(0.5 * (log_prior - misfit - roughness) - np.log(factor[0]).sum())


@njit(cache=True)
def _diagonal_of_inverse(factor):
    """Diagonal of A^-1 from the lower banded Cholesky factor of A (Takahashi's recursion on the band)."""
    width, size = factor.shape
    Z = np.zeros((width, size))  # Z[k, j] = (A^-1)[j + k, j]
    for j in range(size - 1, -1, -1):
        m = min(width - 1, size - 1 - j)
        for k in range(m, -1, -1):
            # (A^-1)[j+k, j] = [k = 0] / L[j, j]^2 - sum_b L[j+b, j] / L[j, j] (A^-1)[j+k, j+b]
            total = 1 / factor[0, j] ** 2 if k == 0 else 0.0
            for b in range(1, m + 1):
                total -= factor[b, j] / factor[0, j] * (Z[abs(k - b), j + min(k, b)] if k > 0 else Z[b, j])
            Z[k, j] = total
    return Z[0]
