"""Inverse kinematics: reachable poses are reached inside the limits, others come with their errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from toy_urdf import joint, link

from urdf import Robot, load_robot
from urdf.inverse import inverse_kinematics


def random_poses(robot: Robot, count: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return robot.link_poses(np.stack([robot.random_configuration(rng) for _ in range(count)]))[:, robot.ee_index]


@pytest.mark.parametrize("name", ["panda", "iiwa14", "widowx250s", "viperx300s"])
def test_random_poses_are_reached(name: str) -> None:
    robot = load_robot(name)
    targets = random_poses(robot, 30)
    for T in targets:
        found = inverse_kinematics(robot, T)
        assert found.success and found.success.shape == () and found.q.shape == robot.rest.shape
        assert ((found.q >= robot.lower) & (found.q <= robot.upper) | robot.continuous).all()
        pose = robot.link_poses(found.q)[robot.ee_index]
        turn = Rotation.from_matrix(pose[:3, :3].T @ T[:3, :3]).magnitude()
        away = np.linalg.norm(pose[:3, 3] - T[:3, 3])
        assert away == pytest.approx(float(found.position_error), abs=1e-9) and away < 1e-4
        assert turn == pytest.approx(float(found.rotation_error), abs=1e-6) and turn < 1e-3


def test_joints_beyond_the_link_and_redundant_ones_stay(panda: Robot) -> None:
    q = panda.rest + np.array([0.3, -0.2, 0.4, 0.3, -0.2, 0.3, 0.1, -0.02])
    T = panda.link_poses(q)[panda.ee_index]
    again = inverse_kinematics(panda, T, q)
    np.testing.assert_allclose(again.q, q, atol=1e-6)
    near = inverse_kinematics(panda, T, q + np.array([0, 0, 0.1, 0, 0, 0, 0, 0.01]))
    assert near.success and near.q[7] == q[7] + 0.01 and np.abs(near.q - q).max() < 0.11
    wrist = inverse_kinematics(panda, panda.link_poses(q)[6], panda.rest, link=panda.link_names[6])
    assert wrist.success and (wrist.q[6:] == panda.rest[6:]).all()
    held = inverse_kinematics(panda, T, q, joints=[0, 1, 3, 4, 5, 6])
    assert held.success and held.q[2] == q[2]


def test_a_trajectory_is_followed_without_jumps(panda: Robot) -> None:
    t = np.linspace(0, 2 * np.pi, 100)[:, None]
    q = panda.rest + 0.4 * np.sin(t * np.arange(1, 9) / 4) * (np.arange(8) < 7)
    T = panda.link_poses(q)[:, panda.ee_index]
    found = inverse_kinematics(panda, T, q[0])
    assert found.success.all() and found.q.shape == q.shape
    assert np.abs(np.diff(found.q, axis=0)).max() < 2 * np.abs(np.diff(q, axis=0)).max()
    each = inverse_kinematics(panda, T, q + 0.01 * (np.arange(8) < 7))
    assert each.success.all() and np.abs(each.q - q).max() < 0.05


def test_out_of_reach_gives_the_nearest_miss(panda: Robot) -> None:
    T = np.tile(np.eye(4), (3, 1, 1))
    T[:, :3, :3] = np.diag([1.0, -1, -1])
    T[:, :3, 3] = [[0.5, 0, 0.4], [3, 0, 0.4], [np.nan, 0, 0]]
    found = inverse_kinematics(panda, T, restarts=2)
    np.testing.assert_array_equal(found.success, [True, False, False])
    assert 1.5 < found.position_error[1] < 3 and np.isfinite(found.q[1]).all()
    assert np.isnan(found.q[2]).all() and np.isnan(found.rotation_error[2])
    same = inverse_kinematics(panda, T, restarts=2)
    np.testing.assert_array_equal(found.q, same.q)


def test_mimic_joints_carry_the_link(write: Callable[..., Path]) -> None:
    """The chain's tip hangs on a joint and on two that follow it, one backwards."""
    path = write(
        *(link(n) for n in "abcde"),
        joint("lead", "a", "b"),
        joint("back", "b", "c", inside='<mimic joint="lead" multiplier="-2" offset="0.3"/>'),
        joint("on", "c", "d", inside='<mimic joint="lead" multiplier="0.5"/>'),
        joint("slide", "d", "e", "prismatic"),
    )
    robot = load_robot(path)
    T = robot.link_poses(np.array([0.8, 0.4]))[-1]
    found = inverse_kinematics(robot, T, link="e")
    assert found.success
    np.testing.assert_allclose(found.q, [0.8, 0.4], atol=1e-5)


def test_endless_joints_take_the_short_way(write: Callable[..., Path]) -> None:
    path = write(link("a"), link("b"), link("c"), joint("turn", "a", "b", "continuous"), joint("lift", "b", "c"))
    robot = load_robot(path)
    T = robot.link_poses(np.array([np.pi + 0.2, 0.5]))[-1]
    found = inverse_kinematics(robot, T, np.array([3.0, 0.4]), link="c")
    assert found.success
    np.testing.assert_allclose(found.q, [np.pi + 0.2, 0.5], atol=1e-5)


def test_what_does_not_fit_is_refused(panda: Robot) -> None:
    T = np.eye(4)
    for targets, options, words in (
        (np.eye(3), {}, r"expected \(4, 4\) or \(T, 4, 4\)"),
        (np.tile(T, (2, 1, 1)) * 2, {}, "target 0 is no rigid transform"),
        (np.diag([1, 1, -1.0, 1]), {}, "no rigid transform"),
        (T, {"q0": np.zeros(7)}, r"q0 has shape \(7,\); expected \(8,\)"),
        (T, {"q0": np.zeros((2, 8))}, "q0 has shape"),
        (T, {"q0": np.full(8, np.nan)}, "all finite"),
        (T, {"link": "elbow"}, "no link 'elbow'"),
        (T, {"link": "panda_link0"}, "no joint that may move"),
        (T, {"joints": [7]}, "no joint that may move"),
    ):
        with pytest.raises(ValueError, match=words):
            inverse_kinematics(panda, targets, **options)  # type: ignore[arg-type]
