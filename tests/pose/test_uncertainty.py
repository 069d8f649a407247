"""Errors that are stated: what is not told at all has a large one, and so has a joint that others can stand in for."""

from dataclasses import replace

import numpy as np
import pytest

from pose.solver import SHARED
from pose.tracking import PYRAMID
from pose.uncertainty import marginal
from pose.valleys import LEAST, borne_out
from tests.pose.tracked import BAR, ROUND, arm, clip, tracked


def test_marginal_is_the_block_of_the_inverse():
    A = np.random.default_rng(0).normal(size=(9, 6))
    H = A.T @ A
    np.testing.assert_allclose(marginal(H, 1, 2, np.ones(6, bool)), np.linalg.inv(H)[1:3, 1:3], rtol=1e-8)


def test_marginal_of_what_is_not_told_is_large_and_of_what_is_fixed_zero():
    """Turn the camera, turn the joint back: nothing changes, so neither is known."""
    u = np.array([1.0, -1.0, 0.0, 0.0])
    told = np.eye(4)[1:] + np.array([[1.0, 0, 0, 0], [0] * 4, [0] * 4])
    H = 1e4 * told.T @ told
    assert abs(u @ H @ u) < 1e-6
    free = np.array([True, True, True, False])
    out = marginal(H, 0, 4, free)
    assert out[0, 0] > 1e3 and out[1, 1] > 1e3
    assert out[2, 2] == pytest.approx(1e-4)
    assert not out[3].any()
    shaken = H + 1e-13 * np.diag([-1e4, 0, 0, 0])  # rounding may leave it a little below nothing
    assert marginal(shaken, 0, 4, free)[0, 0] > 1e3


def test_a_round_flange_is_told_by_nothing_and_a_bar_as_stated(tmp_path):
    share = {}
    for flange in (ROUND, BAR):
        robot = arm(tmp_path, flange)
        q, camera, silhouettes = clip(robot)
        targets, tracker, frames = tracked(robot, camera, q, silhouettes)
        masks = [targets.read(t, PYRAMID[-1].width) for t in range(len(q))]
        H = [frame.equations.H / 25 for frame in frames]  # masks that are worse than these: joints get asked
        share[flange] = borne_out(tracker, tracker.views[-1], frames, masks, H)
    assert share[ROUND].shape == (len(frames), 3)
    np.testing.assert_allclose(share[ROUND][:, 2], LEAST)
    assert share[BAR][:, 2].min() > 0.2 and np.median(share[BAR][:, 2]) > 0.3
    known = replace(tracker, free=np.array([False, True, True]))
    held = borne_out(known, tracker.views[-1], frames, masks, [H[0] * 0 + np.eye(SHARED + 3)] * len(frames))
    assert (held[:, 0] == 1.0).all()


def test_frames_that_tell_a_joint_well_keep_it(tmp_path):
    """The round flange's stated information is doubted only where it is so little that it is asked."""
    robot = arm(tmp_path, ROUND)
    q, camera, silhouettes = clip(robot)
    targets, tracker, frames = tracked(robot, camera, q, silhouettes)
    masks = [targets.read(t, PYRAMID[-1].width) for t in range(len(q))]
    H = [frame.equations.H / 25 + np.diag([0.0] * (SHARED + 2) + [1e8 * (t > 0)]) for t, frame in enumerate(frames)]
    share = borne_out(tracker, tracker.views[-1], frames, masks, H)
    assert share[0, 2] == pytest.approx(LEAST) and share[-1, 2] == 1.0
    assert (np.diff(share[:, 2]) >= -1e-12).all()
