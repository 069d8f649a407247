"""The tool's frame, and another robot's joints for the same motion of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flow_cases import EMPTY, FRAMES

from flows.augmentation import retarget as augment_retarget
from flows.augmentation.episode import retargeted
from flows.augmentation.retarget import retarget
from flows.augmentation.tool import tool_axes
from flows.episode import Episode
from flows.job import robot_of
from flows.sample import sample_motion
from urdf.reference import end_effector_poses

SHOWN = [t for t in range(FRAMES) if t not in EMPTY]
SIDEWAYS = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # the tool's z along the end effector's x


@pytest.mark.parametrize(
    ("name", "axes"), [("panda", np.eye(3)), ("iiwa14", np.eye(3)), ("widowx250s", SIDEWAYS), ("viperx300s", SIDEWAYS)]
)
def test_tool_axes(name: str, axes: object) -> None:
    """Catalogues give the frame other axes; the gripper tells which is which (up to half a turn about z)."""
    found = tool_axes(robot_of(name))
    half = found @ np.diag([-1.0, -1.0, 1.0])
    assert min(np.abs(found - axes).max(), np.abs(half - axes).max()) < 1e-9


def test_same_tool_poses(make_episode: Callable[..., Episode]) -> None:
    """A KUKA's flange follows the Panda's tool, continuously, and is unknown where the Panda is."""
    old, new, episode = robot_of("panda"), robot_of("iiwa14"), make_episode()
    motion = retarget(episode, old, new)
    assert motion.reached.tolist() == [t in SHOWN for t in range(FRAMES)] and not motion.base.any()
    assert np.isnan(motion.q[list(EMPTY)]).all() and np.isnan(motion.opening).all()
    wanted, got = end_effector_poses(old, episode.q), end_effector_poses(new, motion.q)
    np.testing.assert_allclose(got[SHOWN], wanted[SHOWN], atol=2e-4)
    assert (motion.q[SHOWN] >= new.lower).all() and (motion.q[SHOWN] <= new.upper).all()
    assert np.array_equal(motion.q, retarget(episode, old, new).q, equal_nan=True)


def test_base_moves_to_where_more_is_reached(make_episode: Callable[..., Episode]) -> None:
    """A ViperX is too short for the Panda's place; its tool is where the Panda's was all the same."""
    old, new, episode = robot_of("panda"), robot_of("viperx300s"), make_episode()
    there = retarget(episode, old, new, np.zeros(3))
    motion = retarget(episode, old, new)
    assert motion.reached.sum() > there.reached.sum() and motion.base.any() and motion.base[2] == 0
    good = motion.reached
    wanted, got = end_effector_poses(old, episode.q)[good], end_effector_poses(new, motion.q)[good]
    np.testing.assert_allclose(got[:, :3, 3] + motion.base, wanted[:, :3, 3], atol=2e-4)
    # the frames differ by one fixed rotation, so turns in base axes are the same
    turn = wanted[:, :3, :3].swapaxes(1, 2) @ got[:, :3, :3]
    np.testing.assert_allclose(turn, np.broadcast_to(turn[0], turn.shape), atol=2e-3)


def test_gripper_in_metres(make_episode: Callable[..., Episode]) -> None:
    """Openings are kept in metres as far as the new gripper goes; the fraction is its own."""
    old, new = robot_of("panda"), robot_of("viperx300s")
    assert new.gripper is not None
    episode = make_episode()
    motion = retarget(episode, old, new)
    low, high = new.gripper.openings.min(), new.gripper.openings.max()
    good = motion.reached
    wanted = np.clip(episode.gripper_opening, low, high)
    np.testing.assert_allclose(motion.opening[good], wanted[good], atol=1e-6)
    np.testing.assert_allclose(motion.fraction[good], motion.opening[good] / high, atol=1e-9)
    clamped = np.abs(wanted - episode.gripper_opening)[episode.valid] > 1e-3
    assert motion.clamped == clamped.sum()


def test_hand_turned_all_round(make_episode: Callable[..., Episode]) -> None:
    """Nearly a whole turn of the hand, which the KUKA's wrist alone cannot do from everywhere: no jump is handed on."""
    old, new = robot_of("panda"), robot_of("iiwa14")
    q = np.tile([-0.1, 0.05, -0.15, -2.05, -0.2, 2.15, 0.0, 0.04], (30, 1))
    q[:, 6] = np.linspace(-2.8, 2.8, 30)
    episode = make_episode(q=q, valid=np.ones(30, bool), gripper_opening=np.full(30, 0.04), time_s=np.arange(30) / 10.0)
    motion = retarget(episode, old, new, np.zeros(3))
    both = motion.reached[1:] & motion.reached[:-1]
    assert motion.reached.mean() > 0.9 and np.abs(np.diff(motion.q, axis=0)[both]).max() < 0.9


def test_jumps_are_given_up(make_episode: Callable[..., Episode], monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is further from the one before than a joint may go is not called reached, and is counted."""
    monkeypatch.setattr(augment_retarget, "_limits", lambda robot, q: np.full(len(q) - 1, 1e-3))
    motion = retarget(make_episode(), robot_of("panda"), robot_of("iiwa14"), np.zeros(3))
    assert motion.jumps > 0 and motion.reached.sum() == len(SHOWN) - motion.jumps
    assert np.isnan(motion.q[~motion.reached]).all()


def test_uncertainty_is_carried_over(make_episode: Callable[..., Episode]) -> None:
    """Twice as unsure before, twice as unsure after; to the same robot it stays of the same size."""
    robot, episode = robot_of("panda"), make_episode()
    motion = retarget(episode, robot, robot)
    once = retargeted(episode, robot, robot, "panda", motion)
    again = retargeted(make_episode(sigma=2 * episode.sigma), robot, robot, "panda", motion)
    arm = robot.arm_joints
    np.testing.assert_allclose(again.sigma[SHOWN][:, arm], 2 * once.sigma[SHOWN][:, arm], rtol=1e-9)
    assert 0.3 < np.median(once.sigma[SHOWN][:, arm]) / 0.01 < 1.5
    assert np.isnan(once.sigma[list(EMPTY)]).all() and not once.observable[list(EMPTY)].any()


def test_longer_clip_is_smooth(make_episode: Callable[..., Episode]) -> None:
    """64 frames of the demo's motion: no joint of the KUKA moves more than 0.2 rad between frames."""
    q, opening = sample_motion(64)
    time_s = np.arange(64) / 16.0
    ones = np.ones(64, bool)
    episode = make_episode(q=q, valid=ones, gripper_opening=opening, time_s=time_s)
    motion = retarget(episode, robot_of("panda"), robot_of("iiwa14"))
    assert motion.reached.all() and np.abs(np.diff(motion.q, axis=0)).max() < 0.2
