"""Descriptions put together, cut, held and coupled: the kinematics stay those of the pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_urdf import BOX, joint, link

from urdf import RobotError, attach, load_robot, read_description
from urdf.compose import bare, coupled, held, limited, renamed, subtree, without
from urdf.description import transform
from urdf.reference import reference_poses

Write = Callable[..., Path]


@pytest.fixture
def arm(write: Write) -> Path:
    bend = '<origin xyz="0 0.1 0.2" rpy="0.3 -0.4 0.5"/><axis xyz="0 0.6 0.8"/>'
    limit = '<limit lower="-2" upper="2" velocity="1" effort="1"/>'
    return write(
        *(link(name, BOX) for name in "abc"),
        f'<joint name="one" type="revolute"><parent link="a"/><child link="b"/>{bend}{limit}</joint>',
        f'<joint name="two" type="prismatic"><parent link="b"/><child link="c"/>{bend}{limit}</joint>',
        name="arm.urdf",
    )


@pytest.fixture
def hand(write: Write) -> Path:
    slide = '<limit lower="0" upper="0.03" velocity="1" effort="1"/>'
    return write(
        *(link(name, BOX) for name in ("palm", "left_finger", "right_finger")),
        joint("grip", "palm", "left_finger", "prismatic", slide),
        joint("grip2", "palm", "right_finger", "prismatic", f'<mimic joint="grip" multiplier="-1"/>{slide}'),
        name="hand.urdf",
    )


def test_an_attached_hand_rides_on_its_flange(arm: Path, hand: Path) -> None:
    mount = (0.1, -0.2, 0.3), (0.4, 0.5, -0.6)
    both = attach(read_description(arm), read_description(hand), parent="c", xyz=mount[0], rpy=mount[1])
    robot, lone_arm, lone_hand = load_robot(both), load_robot(arm), load_robot(hand)
    assert robot.joint_names == ("one", "two", "grip")
    assert {n for n, p in zip(robot.link_names, robot.link_parts) if p == "gripper"} == {"left_finger", "right_finger"}
    q = np.array([0.7, -1.1, 0.02])
    poses = dict(zip(robot.link_names, robot.link_poses(q)))
    flange = lone_arm.link_poses(q[:2])[lone_arm.link_names.index("c")]
    for name, pose in zip(lone_hand.link_names, lone_hand.link_poses(q[2:])):
        np.testing.assert_allclose(poses[name], flange @ transform(*mount) @ pose, atol=1e-12)
    np.testing.assert_allclose(robot.link_poses(q), reference_poses(robot, q[None])[0], atol=1e-12)
    assert len(robot.mesh.faces) == len(lone_arm.mesh.faces) + len(lone_hand.mesh.faces)


def test_two_arms_on_a_base_need_prefixes(arm: Path) -> None:
    one = read_description(arm)
    with pytest.raises(RobotError, match="both have 'a'; give the part a prefix"):
        attach(one, one, parent="a")
    base = subtree(one, "a")
    two = attach(without(one, ["b"]), renamed(base, "l_"), parent="a", xyz=(0, 1, 0))
    two = attach(two, one, parent="a", xyz=(0, -1, 0), prefix="r_")
    robot = load_robot(two)
    assert robot.joint_names == ("l_one", "l_two", "r_one", "r_two")
    poses = dict(zip(robot.link_names, robot.link_poses(np.array([0.3, 0.4, 0.3, 0.4]))))
    np.testing.assert_allclose(poses["l_c"][:3, 3] - poses["r_c"][:3, 3], [0, 2, 0], atol=1e-12)


def test_held_joints_stay_where_they_were_put(hand: Path, arm: Path) -> None:
    for path, values in ((hand, {"grip": 0.013}), (arm, {"one": -0.8}), (arm, {"two": 0.6})):
        whole = load_robot(path)
        robot = load_robot(held(read_description(path), values))
        q = np.full(len(whole.joint_names), 0.2)
        for name, value in values.items():
            q[whole.joint_names.index(name)] = value
        rest = np.delete(q, [whole.joint_names.index(name) for name in values])
        np.testing.assert_allclose(robot.link_poses(rest), whole.link_poses(q), atol=1e-12)


def test_cutting_leaves_the_rest_as_it_was(arm: Path, hand: Path) -> None:
    whole = read_description(arm)
    assert without(whole, ["b"]).links == ("a",) and subtree(whole, "b").links == ("b", "c")
    assert [v.link for v in bare(whole, ["b"]).visuals] == ["a", "c"]
    alone = without(read_description(hand), ["left_finger"])
    assert load_robot(alone).joint_names == ("grip2",)  # its leader is gone: it moves by itself
    with pytest.raises(RobotError, match="no link is left"):
        without(whole, ["a"])
    with pytest.raises(RobotError, match="has no link 'z'; it has a, b, c"):
        subtree(whole, "z")


def test_couplings_and_limits(arm: Path) -> None:
    robot = load_robot(limited(coupled(read_description(arm), "two", "one", 0.5, 0.1), {"one": (-0.2, 0.3)}))
    whole = load_robot(arm)
    assert robot.joint_names == ("one",) and (robot.lower, robot.upper) == (-0.2, 0.3)
    np.testing.assert_allclose(robot.link_poses(np.array([0.2])), whole.link_poses(np.array([0.2, 0.2])), atol=1e-12)
    with pytest.raises(RobotError, match="leads back to itself"):
        load_robot(coupled(coupled(read_description(arm), "two", "one", 1), "one", "two", 1))
