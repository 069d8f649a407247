"""A hand turned by half a turn: found where the masks tell, flagged where they do not."""

import numpy as np
import pytest

from pose.settle import Shared
from pose.solver import SHARED
from pose.targets import shrink
from pose.tracking import MIDDLE, PYRAMID, Frame
from pose.twins import Turn, last_joints, likely_turns, turned_over, twin_deviations
from pose.whereabouts import look_around
from tests.pose.tracked import BAR, HOOK, ROUND, arm, clip, tracked
from urdf import load_robot

HALF = np.pi
SHARED_ALL = Shared(np.zeros((SHARED, SHARED)), np.ones(SHARED + 3))


def turned(q):
    """The clip with its flange half a turn on, within the limits."""
    q = q.copy()
    q[:, 2] -= np.where(q[:, 2] > 0, HALF, -HALF)
    return np.clip(q, -3.1, 3.1)


def likely(targets, tracker, frames, labelled):
    """Turns of the flange."""
    used = [t for t, frame in enumerate(frames) if frame is not None]
    return likely_turns(tracker, frames, {2: look_around(targets, tracker, frames, used, 2, fine=True)}, labelled)


def middle(tracker, targets, q):
    """Frames as a track on the middle level leaves them."""
    out = []
    for t, row in enumerate(q):
        target = shrink(targets.read(t, PYRAMID[-1].width), MIDDLE)
        out.append(Frame(row, tracker.overlap(row, target), tracker.cost(row, target)))
    return out


def test_the_joints_that_move_no_other_are_the_last_ones(tmp_path):
    assert last_joints(arm(tmp_path, BAR)) == [2]
    panda = load_robot("panda")
    assert [panda.joint_names[k] for k in last_joints(panda)] == ["panda_joint7"]


def test_a_bar_has_a_twin_and_a_hook_has_none_that_is_as_likely(tmp_path):
    for flange, deviation in ((BAR, np.pi / 2), (HOOK, 0.0)):
        robot = arm(tmp_path, flange)
        q, camera, silhouettes = clip(robot)
        targets, tracker, frames = tracked(robot, camera, q, silhouettes)
        turns = [Turn(2, -HALF), Turn(2, HALF)]
        view = tracker.views[-1]
        out = twin_deviations(targets, tracker, frames, range(len(q)), view, turns, SHARED_ALL)
        assert out[:2].tolist() == [0, 0]
        assert out[2] == pytest.approx(deviation, abs=0.15)


def test_masks_that_follow_each_other_closely_tell_less(tmp_path):
    """An error of the masks that stays over the clip is seen once, not once a frame."""
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot)
    targets, tracker, frames = tracked(robot, camera, q, silhouettes)
    alike = Shared(np.zeros((SHARED, SHARED)), np.ones(SHARED + 3), told=1e-6)
    out = twin_deviations(targets, tracker, frames, range(len(q)), tracker.views[-1], [Turn(2, -HALF)], alike)
    assert out[2] > 1.0


def test_a_clip_followed_in_its_twin_is_turned_over(tmp_path):
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    wrong = middle(tracker, targets, turned(q))
    turns = likely(targets, tracker, wrong, [(2, HALF)])
    out = turned_over(targets, tracker, wrong, turns)
    assert np.rad2deg(np.abs(np.stack([f.q for f in out]) - q).max()) < 3
    right = middle(tracker, targets, q)
    assert turned_over(targets, tracker, right, likely(targets, tracker, right, [(2, HALF)])) is right


def test_turns_beyond_the_limits_are_no_twins(tmp_path):
    robot = arm(tmp_path, ROUND)
    q, camera, silhouettes = clip(robot)
    targets, tracker, frames = tracked(robot, camera, q, silhouettes)
    for turn in likely(targets, tracker, frames, [(2, HALF), (2, 5.0)]):
        assert turn.column == 2
        inside = np.abs(q[:, 2] + turn.angle) <= 3.1
        assert inside.mean() > 0.7


def test_frames_without_a_robot_stay_without(tmp_path):
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    wrong = [None, *middle(tracker, targets, turned(q))[1:]]
    out = turned_over(targets, tracker, wrong, [Turn(2, HALF), Turn(2, -HALF)])
    assert out[0] is None and all(frame is not None for frame in out[1:])
