"""A frame that has fallen out of line is looked at again from where the others lead."""

import numpy as np
import pytest

from pose.odd_ones import put_in_line
from pose.tracking import Frame

UNIT, USED = np.ones(2), np.ones(2, bool)


def line(count=9):
    return [Frame(np.array([0.02 * t, 1 - 0.01 * t]), 0.9, 50.0) for t in range(count)]


def looker(cost):
    asked = []

    def look(t, q):
        asked.append(t)
        return Frame(q, 0.9, cost)

    return look, asked


@pytest.mark.parametrize("odd", [0, 4, 8])
def test_an_odd_frame_is_put_in_line_if_that_explains_it_as_well(odd):
    frames = line()
    truth = frames[odd].q
    frames[odd] = Frame(truth + np.array([0.9, -0.1]), 0.9, 50.0)
    look, asked = looker(51.0)
    out = put_in_line(frames, UNIT, USED, look)
    np.testing.assert_allclose(out[odd].q, truth, atol=1e-9)
    assert all(a is b for t, (a, b) in enumerate(zip(out, frames)) if t != odd)
    assert asked == [odd]


def test_a_frame_that_its_mask_holds_out_of_line_stays():
    frames = line()
    frames[4] = Frame(frames[4].q + 0.5, 0.9, 50.0)
    look, _ = looker(53.0)
    assert put_in_line(frames, UNIT, USED, look) == frames


def test_lively_and_unused_joints_may_jump():
    frames = line()
    frames[4] = Frame(frames[4].q + np.array([0.0, 0.9]), 0.9, 50.0)
    look, asked = looker(0.0)
    assert put_in_line(frames, np.array([1.0, 10.0]), USED, look) == frames
    assert put_in_line(frames, UNIT, np.array([True, False]), look) == frames
    assert not asked


def test_short_and_broken_clips_are_left_alone():
    look, asked = looker(0.0)
    assert put_in_line([], UNIT, USED, look) == []
    few = [line()[0], None, line()[2]]
    assert put_in_line(few, UNIT, USED, look) == few
    assert not asked
