import numpy as np
import pytest

from pose.smoothing import smooth


def _problem(frames=60, seed=0):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.03, 0.1, frames))
    truth = np.stack([np.sin(2 * times), np.cos(times), 0.1 * times], 1)
    A = rng.normal(size=(frames, 3, 3))
    information = 400 * (A @ A.transpose(0, 2, 1) + 0.3 * np.eye(3))
    noise = [np.linalg.cholesky(np.linalg.inv(i)) @ rng.normal(size=3) for i in information]
    return times, truth, truth + noise, information


def test_smoothing_halves_the_error_and_states_it():
    times, truth, noisy, information = _problem()
    q, sigma, _ = smooth(noisy, information, times, np.ones(3))
    assert np.abs(q - truth).mean() < 0.5 * np.abs(noisy - truth).mean()
    assert 0.6 < ((q - truth) / sigma).std() < 1.3


def test_sigma_is_the_dense_inverse():
    times, _, noisy, information = _problem(frames=12)
    _, sigma, acceleration = smooth(noisy, information, times, np.ones(3))
    a, b = np.diff(times)[:-1], np.diff(times)[1:]
    D = np.zeros((10, 12))
    for t in range(10):
        D[t, t : t + 3] = 2 / (a[t] * (a[t] + b[t])), -2 / (a[t] * b[t]), 2 / (b[t] * (a[t] + b[t]))
    A = np.kron(D.T @ D, np.eye(3)) / acceleration**2
    for t in range(12):
        A[3 * t : 3 * t + 3, 3 * t : 3 * t + 3] += information[t]
    np.testing.assert_allclose(sigma.ravel(), np.sqrt(np.diag(np.linalg.inv(A))), rtol=1e-6)


def test_missing_frames_stay_missing():
    times, _, noisy, information = _problem()
    noisy[10:20] = np.nan
    q, sigma, _ = smooth(noisy, information, times, np.ones(3))
    assert np.isnan(q[10:20]).all() and np.isnan(sigma[10:20]).all()
    assert np.isfinite(np.delete(q, range(10, 20), 0)).all()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_pass_through(frames):
    times, _, noisy, information = _problem(frames=frames)
    q, sigma, _ = smooth(noisy, information, times, np.ones(3))
    np.testing.assert_array_equal(q, noisy)
    assert np.isfinite(sigma).all()
