"""Descriptions to robots: what is read, what is made finite, and what is refused with one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_urdf import BOX, joint, link

from urdf import Robot, RobotError, UrdfitError, load_robot

Write = Callable[..., Path]


def test_panda(panda: Robot) -> None:
    assert panda.joint_names == (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1")
    assert panda.base_link == "panda_link0" and panda.ee_link == "panda_hand_tcp"
    gripper = {n for n, part in zip(panda.link_names, panda.link_parts) if part == "gripper"}
    assert gripper == {"panda_hand", "panda_leftfinger", "panda_rightfinger", "panda_hand_tcp"}
    np.testing.assert_array_equal(panda.arm_joints, np.arange(7))
    np.testing.assert_array_equal(panda.gripper_joints, [7])
    assert (panda.clip(panda.rest) == panda.rest).all() and not panda.continuous.any()
    poses = dict(zip(panda.link_names, panda.link_poses(panda.rest)))
    apart = poses["panda_leftfinger"][:3, 3] - poses["panda_rightfinger"][:3, 3]
    assert np.linalg.norm(apart) == pytest.approx(0.08)
    tool = np.linalg.inv(poses["panda_hand"]) @ poses["panda_hand_tcp"]
    np.testing.assert_allclose(tool[:3, 3], [0, 0, 0.1034], atol=1e-12)


def test_gripper_values_go_round(panda: Robot) -> None:
    gripper = panda.gripper
    assert gripper is not None
    q = np.tile(panda.rest, (3, 1))
    q[:, 7] = [0.0, 0.01, 0.04]
    np.testing.assert_allclose(gripper.opening(q), [0, 0.02, 0.08])
    np.testing.assert_allclose(gripper.fraction(q), [0, 0.25, 1])
    np.testing.assert_allclose(gripper.from_opening(gripper.opening(q)), q[:, 7])


def test_kuka_has_no_gripper(kuka: Robot) -> None:
    assert kuka.gripper is None and set(kuka.link_parts) == {"arm"}
    assert kuka.ee_link == "lbr_link_ee" and len(kuka.gripper_joints) == 0


def test_limits_are_made_finite(write: Write) -> None:
    names = "abcdefg"
    path = write(
        *(link(n) for n in names),
        joint("endless", "a", "b", "continuous"),
        joint("infinite", "b", "c", inside='<limit lower="-inf" upper="inf" velocity="1" effort="1"/>'),
        joint("huge", "c", "d", inside='<limit lower="-999999" upper="999999" effort="1"/>'),
        joint("two_turns", "d", "e", inside='<limit lower="-6.28" upper="6.28" velocity="inf" effort="1"/>'),
        joint("slide", "e", "f", "prismatic", '<limit velocity="1" effort="1"/>'),
        joint("positive", "f", "g", inside='<limit lower="0.5" upper="1" velocity="0" effort="1"/>'),
    )
    robot = load_robot(path)
    np.testing.assert_array_equal(robot.continuous, [True, True, True, False, False, False])
    np.testing.assert_allclose(robot.lower, [-np.pi, -np.pi, -np.pi, -6.28, -10, 0.5])
    np.testing.assert_allclose(robot.rest, [0, 0, 0, 0, 0, 0.75])
    np.testing.assert_array_equal(robot.velocity, [1, 1, np.inf, np.inf, 1, np.inf])
    q = np.full(6, 50.0)
    np.testing.assert_allclose(robot.clip(q), [50, 50, 50, 6.28, 10, 1])


def test_mimic_chains_are_flattened(write: Write) -> None:
    path = write(
        *(link(n) for n in "abcd"),
        joint("lead", "a", "b"),
        joint("second", "b", "c", inside='<mimic joint="lead" multiplier="-2" offset="0.1"/>'),
        joint("third", "c", "d", inside='<mimic joint="second" multiplier="0.5" offset="1"/>'),
    )
    robot = load_robot(path)
    assert robot.joint_names == ("lead",)
    np.testing.assert_array_equal(robot.tree.q_index, [-1, 0, 0, 0])
    np.testing.assert_allclose(robot.tree.multiplier, [1, 1, -2, -1])
    np.testing.assert_allclose(robot.tree.offset, [0, 0, 0.1, 1.05])


def test_an_unknown_gripper_is_labelled_and_measured(write: Write) -> None:
    pad = '<visual><geometry><box size="0.02 0.02 0.06"/></geometry></visual>'
    limit = '<limit lower="0" upper="0.03" velocity="1" effort="1"/>'
    slide = '<parent link="palm"/><child link="{0}"/><origin xyz="0 {1} 0.1"/><axis xyz="0 {2} 0"/>'
    path = write(
        link("base"),
        link("my_gripper_base", BOX).replace("my_gripper_base", "palm"),
        link("left_finger", pad),
        link("right_finger", pad),
        joint("wrist", "base", "palm"),
        f'<joint name="grip" type="prismatic">{slide.format("left_finger", 0.012, 1)}{limit}</joint>',
        f'<joint name="grip2" type="prismatic">{slide.format("right_finger", -0.012, -1)}{limit}'
        '<mimic joint="grip"/></joint>',
    )
    robot = load_robot(path)
    assert robot.joint_names == ("wrist", "grip") and list(robot.gripper_joints) == [1]
    assert robot.gripper is not None and robot.gripper.joint == 1
    q = np.array([[0.0, 0.0], [0.3, 0.01], [-0.3, 0.03]])
    np.testing.assert_allclose(robot.gripper.opening(q), [0.004, 0.024, 0.064], atol=1e-5)
    np.testing.assert_allclose(robot.gripper.slope(q), 2, atol=1e-3)
    assert robot.gripper.max_opening == pytest.approx(0.064, abs=1e-4)


def test_relative_includes_and_arguments_of_xacro(write: Write, tmp_path: Path) -> None:
    path = write(name="robot.urdf.xacro")
    (path.parent / "parts.xacro").write_text(
        '<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:macro name="part" params="name">'
        f'<link name="${{name}}">{BOX}</link></xacro:macro></robot>'
    )
    path.write_text(
        '<robot name="x" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:arg name="who" default="nobody"/>'
        '<xacro:include filename="parts.xacro"/><xacro:include filename="$(find pkg)/urdf/parts.xacro"/>'
        '<xacro:part name="$(arg who)"/></robot>'
    )
    assert load_robot(path).link_names == ("nobody",)
    assert load_robot(path, arguments={"who": "me"}).link_names == ("me",)
    path.write_text(path.read_text().replace("$(find pkg)", "$(find elsewhere)"))
    with pytest.raises(RobotError, match="includes ROS package 'elsewhere'"):
        load_robot(path)
    assert load_robot(path, packages={"elsewhere": tmp_path / "pkg"}).link_names == ("nobody",)


def refused(path: Path | str, *words: str) -> None:
    with pytest.raises(RobotError) as caught:
        load_robot(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1200
    for word in words:
        assert word in message
    assert isinstance(caught.value, UrdfitError)


def test_unknown_names_and_absent_files(tmp_path: Path) -> None:
    refused("pandaa", "'pandaa'", "did you mean panda?", "iiwa14")
    refused("/nowhere/robot.urdf", "no such robot description file")
    refused(str(tmp_path), "a folder")
    refused("/x" * 5000, "no such robot description file")
    refused("a\0b\nc", "unknown robot")


TWO = link("a") + link("b")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", ["no <link>"]),
        (link("a") + link("a"), ["two links", "'a'"]),
        (TWO, ["2 links have no parent"]),
        (TWO + joint("j", "a", "b") + joint("k", "b", "a"), ["cycle"]),
        (link("r") + TWO + joint("j", "a", "b") + joint("k", "b", "a"), ["cycle"]),
        (TWO + joint("j", "a", "b") + joint("j", "a", "b"), ["two joints", "'j'"]),
        (TWO + joint("j", "a", "b") + joint("k", "a", "b"), ["two parent joints", "'b'"]),
        (TWO + joint("j", "a", "c"), ["'c'", "does not exist"]),
        (TWO + joint("j", "a", "b", "floating"), ["'floating'", "revolute"]),
        (TWO + joint("j", "a", "b").replace('<parent link="a"/>', ""), ["no parent link"]),
        (TWO + joint("j", "a", "b").replace("0 0 0.3", "0 nan 0"), ["'0 nan 0'", "finite"]),
        (TWO + joint("j", "a", "b").replace("0 0 0.3", "0 0"), ["3 finite numbers"]),
        (TWO + joint("j", "a", "b").replace("0 1 0", "0 0 0"), ["axis"]),
        (TWO + joint("j", "a", "b", inside='<limit lower="2" upper="1"/>'), ["above the upper"]),
        (TWO + joint("j", "a", "b", inside='<limit lower="nan" upper="1"/>'), ["'nan'"]),
        (TWO + joint("j", "a", "b", inside='<mimic joint="j"/>'), ["itself"]),
        (TWO + joint("j", "a", "b", inside='<mimic joint="q"/>'), ["'q'", "does not exist"]),
        (link("a", ""), ["no link has visual geometry"]),
        (link("a", BOX.replace("0.1 0.1 0.3", "0.1 0 0.1")), ["no link has visual geometry"]),
        (link("a", BOX.replace("box", "torus")), ["<torus>"]),
        (link("a", "<visual/>"), ["no geometry"]),
        (link("a\nb") + link("c"), ["no parent"]),
        ("<broken>", ["not readable as XML"]),
    ],
)
def test_broken_descriptions(write: Write, body: str, words: list[str]) -> None:
    refused(write(body), *words)


def test_hostile_xml(write: Write) -> None:
    path = write(link("a"))
    bomb = '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    for text in (
        f'{bomb}<robot name="&b;"/>',
        '<!DOCTYPE r SYSTEM "file:///etc/passwd"><robot/>',
        f'<?xml version="1.0" encoding="UTF-16"?>{bomb}<robot name="&b;"/>',
    ):
        path.write_bytes(text.encode("utf-16" if "UTF-16" in text else "utf-8"))
        refused(path, "not accepted")
    path.write_bytes(b"")
    refused(path, "empty")
    path.write_bytes(b"<mujoco/>")
    refused(path, "the world holds no body")
    path.write_bytes(b"\xff\xfe\x00binary")
    refused(path)


def test_undeclared_prefixes_are_tolerated(write: Write) -> None:
    path = write(link("a", BOX + '<drake:thing value="1"/>'))
    assert load_robot(path).link_names == ("a",)


GOOD = (
    f'<robot name="toy">{link("a")}{link("b")}{joint("j", "a", "b")}'
    f'{link("c")}{joint("k", "b", "c", inside="""<mimic joint="j" offset="1"/>""")}</robot>'
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_descriptions_load_or_end_in_one_line(write: Write, data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        text = (
            text[:start]
            + data.draw(st.sampled_from(["", "nan", "-1e9", '"', "<", "/>", "a", "0 0 0"]))
            + text[start + length :]
        )
    path = write()
    path.write_text(text)
    try:
        robot = load_robot(path)
    except RobotError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(robot.link_poses(robot.rest)).all()
