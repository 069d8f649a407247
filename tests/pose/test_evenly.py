"""Indices spread evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pose.evenly import evenly


@given(st.integers(1, 500), st.integers(1, 60))
def test_first_and_last_are_among_them_and_gaps_are_alike(count, most):
    some = evenly(count, most)
    assert len(some) == min(count, most) and some[0] == 0
    if most > 1:
        gaps = np.diff(some)
        assert some[-1] == count - 1 and (len(gaps) == 0 or (gaps.min() > 0 and np.ptp(gaps) <= 1))


def test_none_of_none():
    assert evenly(0, 5).tolist() == []
