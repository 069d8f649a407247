"""Values at new times from noisy samples at irregular ones: resampling, smoothing and bridging of gaps are one fit.

Around every new time a parabola is fitted to the samples within `half_window` seconds (local quadratic regression:
Savitzky and Golay, Analytical Chemistry 36, 1964; with Cleveland's tricube weights, JASA 74, 1979), each sample
weighted by what it is worth, 1/sigma^2. Its value there is the result.

The window is symmetric, so the lag is zero: a sinusoid comes out smaller but not later. The price is look-ahead: a
value depends on samples up to `half_window` later, which a recording has and a live stream has not. Only within
`half_window` of the ends the window is lopsided, and a parabola is still reproduced exactly there.
"""

from __future__ import annotations

import numpy as np

LEAST = 4  # samples in a window, which is widened until it has them: three would be followed with all their noise
TRUST = 3.0  # a sample's sigma counts as at most this much larger or smaller than the median
CHUNK = 4096  # new times handled at once, so that memory stays small

# Where the amplitude of a sinusoid has fallen to 1/sqrt(2), in periods per half window; see `test_action_smoothing`.
CUTOFF = 0.712


def cutoff_hz(half_window: float) -> float:
    """The frequency whose amplitude smoothing reduces to 71 % (-3 dB), where samples are dense; inf without any."""
    return CUTOFF / half_window if half_window > 0 else float("inf")


def resample(
    times: np.ndarray, values: np.ndarray, at: np.ndarray, half_window: float, sigma: np.ndarray | None = None
) -> np.ndarray:
    """Values (M,k) at the times `at` (M,) from samples (T,k) at `times` (T,), in seconds.

    Args:
        times: increasing.
        half_window: seconds to either side that a value draws on; 0 interpolates linearly and smooths nothing.
        sigma: (T,k) standard deviations of the samples, or None where all are alike; NaN counts as the median.
    """
    times, values, at = (np.asarray(a, float) for a in (times, values, at))
    if at.size == 0 or values.shape[1] == 0:
        return np.zeros((len(at), values.shape[1]))
    if half_window <= 0 or len(times) < LEAST:
        return np.stack([np.interp(at, times, column) for column in values.T], 1)
    weight = np.ones_like(values) if sigma is None else _weights(np.asarray(sigma, float))
    parts = [_local(times, values, weight, at[i : i + CHUNK], half_window) for i in range(0, len(at), CHUNK)]
    return np.concatenate(parts)


def _weights(sigma: np.ndarray) -> np.ndarray:
    """(T,k) 1/sigma^2 of each column relative to its median, within TRUST."""
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.nan)
        middle = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else 1.0 for c in known.T])
        ratio = np.clip(np.nan_to_num(known / middle, nan=1.0), 1 / TRUST, TRUST)
    return ratio**-2


def _local(times: np.ndarray, values: np.ndarray, weight: np.ndarray, at: np.ndarray, half_window: float) -> np.ndarray:
    count = len(times)
    centre = np.searchsorted(times, at)
    # beside a gap a window would hold samples of one side alone and extrapolate: it reaches for two on either side
    before, after = (np.clip(centre + step, 0, count - 1) for step in (-2, 1))
    near = np.maximum(at - times[before], times[after] - at)
    # at the ends it has one side only, and reaches for the LEAST samples there
    near = np.where(centre < 2, times[LEAST - 1] - at, np.where(centre > count - 2, at - times[count - LEAST], near))
    reach = np.maximum(half_window, near * 1.05)
    first, last = np.searchsorted(times, at - reach), np.searchsorted(times, at + reach, side="right")
    index = first[:, None] + np.arange(int((last - first).max()))
    inside = index < last[:, None]
    index = np.minimum(index, count - 1)
    x = (times[index] - at[:, None]) / reach[:, None]  # (M,K), -1..1
    kernel = np.where(inside, np.clip(1 - np.abs(x) ** 3, 0, None) ** 3, 0.0)
    basis = np.stack([np.ones_like(x), x, x * x], 2)  # (M,K,3)
    w = kernel[:, :, None] * weight[index]  # (M,K,k)
    normal = np.einsum("mkc,mki,mkj->mcij", w, basis, basis)
    right = np.einsum("mkc,mki,mkc->mci", w, basis, values[index])
    # relative damping of the slopes only: nothing to a window with enough samples, finite for one without
    damping = 1e-9 * normal[..., 0, 0]
    normal[..., 1, 1] += damping
    normal[..., 2, 2] += damping
    return np.linalg.solve(normal, right[..., None])[..., 0, 0]
