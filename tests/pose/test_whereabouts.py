"""A last joint looked at everywhere: its likeliest path through a clip, and how far it may be from the fitted one."""

import itertools

import numpy as np
import pytest

from pose.whereabouts import LOOKS, Range, look_around, roamed, spread, wide_deviations
from tests.pose.test_twins import middle
from tests.pose.tracked import BAR, HOOK, ROUND, arm, clip, tracked

LIMITS = (-3.1, 3.1)


def made(costs, fitted=0.0, limits=LIMITS, motion=0.3):
    """A range of made up costs (m,LOOKS)."""
    costs = np.asarray(costs, float)
    return Range(np.full(len(costs), fitted), costs, np.ones(len(costs)), limits, motion)


def test_path_and_belief_are_those_of_trying_every_sequence():
    rng = np.random.default_rng(0)
    around = made(rng.uniform(0, 8, (3, LOOKS)), fitted=0.1, limits=(-0.16, 0.3))
    inside = [np.flatnonzero(np.isfinite(row)) for row in around.costs]
    weights, angles = [], []
    for chosen in itertools.product(*inside):
        path = around.angles[range(3), chosen]
        cost = around.costs[range(3), chosen].sum() + ((np.diff(path) / around.motion) ** 2).sum()
        weights.append(np.exp(-cost / 2))
        angles.append(path)
    angles, weights = np.array(angles), np.array(weights) / np.sum(weights)
    assert around.path() == pytest.approx(angles[weights.argmax()])
    expected = np.sqrt(((angles - around.fitted) ** 2 * weights[:, None]).sum(0))
    assert around.deviation(1.0) == pytest.approx(expected)


def test_limits_are_kept_and_a_whole_turn_is_no_error():
    flat = np.zeros((4, LOOKS))
    narrow = made(flat, limits=(-0.5, 0.5))
    assert np.abs(narrow.angles[np.isfinite(narrow.costs)]).max() <= 0.5 + 1e-6
    sharp = np.full((4, LOOKS), 1e3)
    sharp[:, 0] = 0  # the fitted angle, and a whole turn from it both ways
    assert made(sharp, limits=(-6.5, 6.5)).deviation(1.0).max() < 0.05
    assert made(flat).deviation(1.0) == pytest.approx(np.pi / np.sqrt(3), rel=0.1)


def test_what_one_frame_leaves_open_its_neighbours_tell():
    costs = np.full((5, LOOKS), 60.0)
    costs[:, 0] = costs[2, LOOKS // 2] = 0  # half a turn on is as good in the middle frame alone
    assert made(costs).deviation(1.0)[2] < 0.1
    costs[:, LOOKS // 2] = 0
    assert made(costs, fitted=-1.0).deviation(1.0) == pytest.approx(np.pi / np.sqrt(2), abs=0.1)


def test_a_clip_followed_the_wrong_way_is_led_to_the_right_one(tmp_path):
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot, 8)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    wrong = q.copy()
    wrong[:, 2] += np.linspace(0.3, 1.6, len(q))
    frames = middle(tracker, targets, wrong)
    frames[3] = None
    out = roamed(targets, tracker, frames, [2])
    assert out[3] is None
    seen = spread(frames)
    assert np.rad2deg(np.abs(np.stack([out[t].q for t in seen]) - q[seen])).max() < 2
    right = middle(tracker, targets, q)
    assert roamed(targets, tracker, right, [2]) is right


@pytest.mark.parametrize(("flange", "low", "high"), [(HOOK, 0, 1), (BAR, 80, 140), (ROUND, 80, 140)])
def test_how_far_it_may_be_is_what_the_shape_leaves_open(tmp_path, flange, low, high):
    robot = arm(tmp_path, flange)
    q, camera, silhouettes = clip(robot)
    targets, tracker, frames = tracked(robot, camera, q, silhouettes)
    around = look_around(targets, tracker, frames, [0, 2], 2, fine=True)
    out = wide_deviations({2: around}, [0, 2], 1.0, q.shape)
    assert out.shape == q.shape and not out[:, :2].any()
    assert low <= np.rad2deg(out[:, 2]).min() and np.rad2deg(out[:, 2]).max() <= high


def test_one_frame_is_enough(tmp_path):
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot, 1)
    targets, tracker, frames = tracked(robot, camera, q, silhouettes)
    around = look_around(targets, tracker, frames, [0], 2, fine=False)
    assert around.path() == pytest.approx(q[:, 2], abs=0.09) and around.deviation(1.0).shape == (1,)
