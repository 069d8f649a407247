"""Other ways to explain a clip, followed only as far as they are other ways and no worse."""

import numpy as np
import pytest

from pose import branches
from pose.branches import other_branches
from pose.tracking import Frame, Near
from tests.pose.test_twins import middle
from tests.pose.tracked import HOOK, ROUND, arm, clip, tracked

FRAMES = 8


def near(q):
    return Near(q, np.full(3, 0.25))


def clip_of(tmp_path, flange):
    robot = arm(tmp_path, flange)
    q, camera, silhouettes = clip(robot, frames=FRAMES)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    return q, targets, tracker


@pytest.mark.parametrize("wrong", [np.s_[:], np.s_[3:]])
def test_the_part_of_a_clip_that_is_on_a_wrong_branch_is_put_right(tmp_path, wrong):
    q, targets, tracker = clip_of(tmp_path, HOOK)
    slipped = q.copy()
    slipped[wrong, 2] -= np.deg2rad(65)
    frames = middle(tracker, targets, slipped)
    out = other_branches(targets, tracker, frames, np.arange(3), near, np.random.default_rng(0))
    assert np.rad2deg(np.abs(np.stack([f.q for f in out]) - q)[:, 2].max()) < 6


def test_a_right_track_stays(tmp_path):
    q, targets, tracker = clip_of(tmp_path, HOOK)
    frames = middle(tracker, targets, q)
    out = other_branches(targets, tracker, frames, np.arange(3), near, np.random.default_rng(0))
    assert all(a is b for a, b in zip(out, frames))


def test_a_branch_ends_where_it_meets_the_known_one(tmp_path):
    q, targets, tracker = clip_of(tmp_path, HOOK)
    frames = middle(tracker, targets, q)
    frames[2] = Frame(q[2] + [0, 0, 0.6], 0.8, 500.0)
    branch = branches._follow(targets, tracker, frames, list(range(FRAMES)), (2, q[2] + [0, 0, 0.05]), near)
    assert branch.ends and set(branch.frames) == {2}


def test_a_branch_that_gets_worse_and_worse_is_given_up(tmp_path):
    q, targets, tracker = clip_of(tmp_path, HOOK)
    frames = middle(tracker, targets, q)
    lower, upper = tracker.limits
    held = branches.replace(tracker, limits=(np.r_[lower[:2], q[0, 2] + 1.4], np.r_[upper[:2], q[0, 2] + 1.6]))
    branch = branches._follow(targets, held, frames, list(range(FRAMES)), (0, q[0] + [0, 0, 1.5]), near)
    assert not branch.ends and len(branch.frames) < FRAMES


def test_a_round_flange_has_no_better_branch(tmp_path):
    q, targets, tracker = clip_of(tmp_path, ROUND)
    frames = middle(tracker, targets, q)
    out = other_branches(targets, tracker, frames, np.arange(3), near, np.random.default_rng(0))
    assert sum(a is b for a, b in zip(out, frames)) >= FRAMES // 2
    assert np.rad2deg(np.abs(np.stack([f.q for f in out]) - q)[:, :2].max()) < 2
