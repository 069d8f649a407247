from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.exporting.action_gripper import GripperSettings, gripper_events, gripper_states

RATE = 30.0


def clock(count):
    return np.arange(count) / RATE


def test_flicker_at_one_threshold_is_one_event():
    rng = np.random.default_rng(0)
    opening = np.concatenate(
        [np.ones(30), np.linspace(1, 0.5, 20), np.full(40, 0.5), np.linspace(0.5, 0, 20), np.zeros(30)]
    )
    noisy = opening + rng.normal(0, 0.06, len(opening))
    naive = np.flatnonzero(np.diff((noisy > 0.5).astype(int)))
    events = gripper_events(clock(len(noisy)), gripper_states(clock(len(noisy)), noisy))
    assert len(naive) > 5 and [kind for _, kind in events] == ["close"]
    assert abs(events[0][0] - 96 / RATE) < 0.15  # where 35 % of the range is passed


def test_a_gripper_stopped_by_an_object_is_closed():
    opening = np.concatenate([np.ones(20), np.full(20, 0.55), np.ones(20)])
    assert gripper_states(clock(60), opening).astype(int).tolist() == [1] * 20 + [0] * 20 + [1] * 20


def test_short_pulses_are_taken_back_and_the_rest_keeps_its_time():
    opening = np.ones(90)
    opening[30:32] = 0.0  # 67 ms
    opening[50:70] = 0.0
    events = gripper_events(clock(90), gripper_states(clock(90), opening))
    assert events == [(50 / RATE, "close"), (70 / RATE, "open")]
    assert len(gripper_events(clock(90), gripper_states(clock(90), opening, GripperSettings(hold=0.0)))) == 4


def test_nothing_happens_in_a_small_range():
    wobble = 0.9 + 0.05 * np.sin(clock(60) * 9)
    assert gripper_states(clock(60), wobble).all() and not gripper_states(clock(60), wobble - 0.8).any()


def test_unknown_openings_keep_the_state():
    opening = np.array([np.nan, 1, 1, 1, np.nan, np.nan, 0, 0, 0, np.nan])
    states = gripper_states(np.arange(10.0), opening)
    assert states.astype(int).tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert gripper_states(np.arange(3.0), np.full(3, np.nan)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=80), st.floats(0, 0.4))
def test_inner_states_last_and_the_scale_of_the_opening_does_not_matter(values, hold):
    opening, times = np.array(values), clock(len(values))
    settings_ = GripperSettings(hold=hold, least_range=0.05)
    states = gripper_states(times, opening, settings_)
    changes = [t for t, _ in gripper_events(times, states)]
    assert all(b - a >= hold for a, b in pairwise(changes))
    if np.subtract(*np.percentile(opening, [98, 2])) > 0.2:
        np.testing.assert_array_equal(gripper_states(times, 0.5 * opening + 0.3, settings_), states)
