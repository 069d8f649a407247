"""Levenberg-Marquardt on one picture's joints."""

from dataclasses import replace

import numpy as np
import pytest

from pose.tracking import PYRAMID, Near
from tests.pose.tracked import HOOK, arm, clip, tracked


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    robot = arm(tmp_path_factory.mktemp("arm"), HOOK)
    q, camera, silhouettes = clip(robot)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    return q, tracker, targets.read(0, PYRAMID[-1].width)


def test_it_comes_back_to_the_joints_that_the_mask_shows(small):
    q, tracker, target = small
    found, seen = tracker.descend(q[0] + [0.05, -0.05, 0.08], target, 2)
    assert np.rad2deg(np.abs(found - q[0]).max()) < 0.5
    assert seen.iou > 0.97 and seen.cost == pytest.approx(tracker.information(found, target, np.zeros(3)).cost)


def test_held_joints_stay_and_limits_hold(small):
    q, tracker, target = small
    start = q[0] + [0.05, -0.05, 0.0]
    held = replace(tracker, free=np.array([False, True, True]))
    found, _ = held.descend(start, target, 2)
    assert found[0] == start[0] and found[1] != start[1]
    low = q[0] - [1.0, 0.02, 1.0]
    high = q[0] + [1.0, -0.01, 1.0]
    found, _ = replace(tracker, limits=(low, high)).descend(np.clip(start, low, high), target, 2)
    assert found[1] == pytest.approx(high[1])
    nothing, _ = replace(tracker, free=np.zeros(3, bool)).descend(start, target, 2)
    assert (nothing == start).all()


def test_a_prior_pulls(small):
    q, tracker, target = small
    pulled = q[0] + [0.0, 0.0, 0.1]
    found, _ = tracker.descend(q[0], target, 2, Near(pulled, np.full(3, 1e-5)))
    assert np.abs(found - pulled).max() < 1e-3
