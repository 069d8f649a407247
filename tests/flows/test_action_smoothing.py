import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.exporting.action_smoothing import cutoff_hz, resample


def jittered(rng: np.random.Generator, count: int = 60, rate: float = 30.0) -> np.ndarray:
    """Increasing times with gaps between a tenth and three times the nominal one."""
    return np.cumsum(rng.uniform(0.1, 3.0, count)) / rate


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 0.5), st.booleans())
def test_a_parabola_is_reproduced_at_any_time_from_irregular_samples(seed, half_window, weighted):
    rng = np.random.default_rng(seed)
    times = jittered(rng)
    a, b, c = rng.normal(size=(3, 2))
    degree = 2 if half_window > 0 else 1  # without smoothing it is linear interpolation

    def truth(t):
        return a + b * t[:, None] + (degree == 2) * c * t[:, None] ** 2

    at = np.sort(rng.uniform(times[0], times[-1], 33))
    sigma = rng.uniform(0.5, 2.0, (len(times), 2)) if weighted else None
    got = resample(times, truth(times), at, half_window, sigma)
    np.testing.assert_allclose(got, truth(at), atol=2e-5)


def test_without_a_window_samples_are_returned_as_they_are():
    rng = np.random.default_rng(0)
    times, values = jittered(rng), rng.normal(size=(60, 3))
    np.testing.assert_allclose(resample(times, values, times, 0.0), values, atol=1e-12)


def gain(frequency: float, half_window: float) -> complex:
    """What smoothing makes of exp(i 2 pi f t) in the middle of a dense recording, as a complex factor."""
    times = np.arange(0, 4, 1 / 300)
    phase = 2 * np.pi * frequency * times
    at = np.array([2.0011])
    cosine, sine = resample(times, np.stack([np.cos(phase), np.sin(phase)], 1), at, half_window)[0]
    return (cosine + 1j * sine) * np.exp(-2j * np.pi * frequency * at[0])


def test_the_stated_cutoff_and_lag_are_those_measured():
    for half_window in (0.1, 0.15, 0.4):
        factor = gain(cutoff_hz(half_window), half_window)
        assert abs(abs(factor) - 2**-0.5) < 0.01
        assert abs(np.angle(factor)) < 1e-3  # no lag
    assert abs(gain(0.2 * cutoff_hz(0.2), 0.2)) > 0.99
    assert abs(gain(3 * cutoff_hz(0.2), 0.2)) < 0.1


def test_noise_falls_and_a_gap_is_bridged():
    rng = np.random.default_rng(1)
    times = np.arange(0, 4, 1 / 30)
    times = times[(times < 1.5) | (times > 1.8)]
    truth = np.sin(2 * times)
    at = np.arange(0, 4, 1 / 50)
    noisy = truth + rng.normal(0, 0.02, len(times))
    error = resample(times, noisy[:, None], at, 0.25)[:, 0] - np.sin(2 * at)
    gap = (at > 1.5) & (at < 1.8)
    assert np.sqrt(np.mean(error[~gap] ** 2)) < 0.011 and np.abs(error[gap]).max() < 0.05


def test_an_uncertain_sample_counts_less():
    times = np.arange(20) / 10
    values = np.zeros((20, 1))
    values[10] = 1.0
    sigma = np.full((20, 1), 0.1)
    plain = resample(times, values, times[10:11], 0.4, sigma)[0, 0]
    sigma[10] = 10.0
    assert resample(times, values, times[10:11], 0.4, sigma)[0, 0] < 0.25 * plain


def test_few_samples():
    for count in (1, 2, 3, 4):
        times = np.arange(count, dtype=float)
        got = resample(times, np.full((count, 2), 7.0), np.array([0.0, 0.5]), 0.3)
        np.testing.assert_allclose(got, 7.0)
    assert resample(np.arange(5.0), np.zeros((5, 2)), np.zeros(0), 0.3).shape == (0, 2)
