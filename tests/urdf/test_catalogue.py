"""Every robot of the catalogue whose files are on this machine; what an entry may say, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from urdf import Robot, RobotError, catalogue, list_robots, load_robot, read_description, sources
from urdf.reference import reference_poses

NAMES = tuple(catalogue.entries())
# independent joints of the arm (and its stand), and of the gripper
JOINTS = {
    "panda": (7, 1), "panda_robotiq": (7, 1), "fr3": (7, 1), "fanuc_lrmate200id": (6, 0),
    "fanuc_lrmate200id_boxes": (6, 0), "ur5": (6, 0), "ur5e": (6, 0), "ur5e_robotiq": (6, 1), "iiwa14": (7, 0),
    "iiwa7": (7, 0), "xarm6": (6, 0), "xarm6_gripper": (6, 1), "xarm7": (7, 0), "xarm7_gripper": (7, 1),
    "widowx250s": (6, 1), "viperx300s": (6, 1), "mobile_aloha": (12, 2), "sawyer": (8, 0), "google_robot": (7, 1),
    "stretch_re1": (5, 1), "stretch_re2": (5, 1), "stretch_se3": (7, 1), "robotiq_2f85": (0, 1), "xarm_gripper": (0, 1),
}  # fmt: skip


def load(name: str) -> Robot:
    absent = [s for s in catalogue.sources_of(name) if sources.state(s) == "absent"]
    if absent:
        pytest.skip(f"the files of {name} are not on this machine: urdfit robots fetch {name}")
    if catalogue.entries()[name]["file"].endswith(".xml"):
        pytest.importorskip("mujoco", reason="MJCF needs the extra mjcf")
    return load_robot(name)


def test_the_catalogue_holds_the_promised_robots() -> None:
    promised = """panda fr3 panda_robotiq fanuc_lrmate200id ur5 ur5e ur5e_robotiq iiwa7 iiwa14 google_robot mobile_aloha
        viperx300s xarm6 xarm7 xarm7_gripper widowx250s sawyer stretch_re1 stretch_re2 stretch_se3"""
    assert set(promised.split()) <= set(list_robots())
    assert not {"robotiq_2f85", "xarm_gripper"} & set(list_robots()) and set(JOINTS) == set(NAMES)
    assert all(s in sources.entries() for name in NAMES for s in catalogue.sources_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_robot(name: str) -> None:
    robot = load(name)
    assert robot.name == name and robot.licence and 100 < len(robot.mesh.faces) <= (6000 if name == "sawyer" else 3000)
    assert (len(robot.arm_joints), len(robot.gripper_joints)) == JOINTS[name]
    assert ((robot.rest >= robot.lower) & (robot.rest <= robot.upper) & (robot.lower < robot.upper)).all()
    assert robot.ee_link in robot.link_names
    assert len(robot.grippers) == (2 if name == "mobile_aloha" else JOINTS[name][1])
    rng = np.random.default_rng(0)
    q = np.stack([robot.random_configuration(rng) for _ in range(20)])
    np.testing.assert_allclose(robot.link_poses(q), reference_poses(robot, q), atol=1e-9)
    reach = np.abs(robot.link_poses(robot.rest)[:, :3, 3]).max()
    assert 0.05 < reach < 2.5  # metres


@pytest.mark.parametrize("name", [name for name in NAMES if JOINTS[name][1]])
def test_grippers_open_from_nothing_to_a_hand_span(name: str) -> None:
    robot = load(name)
    for gripper in robot.grippers:
        assert -0.002 < gripper.openings.min() < 0.02 and 0.04 < gripper.max_opening < 0.25
        q = np.tile(robot.rest, (50, 1))
        q[:, gripper.joint] = np.linspace(robot.lower[gripper.joint], robot.upper[gripper.joint], 50)
        opening = gripper.opening(q)
        positive = opening > 0
        np.testing.assert_allclose(gripper.from_opening(opening)[positive], q[positive, gripper.joint], atol=1e-6)
        step = 1e-4
        changed = q.copy()
        changed[:, gripper.joint] += step
        slope = (gripper.opening(changed) - opening) / step
        agree = np.isclose(slope, gripper.slope(q), rtol=0.2, atol=1e-3)
        assert agree[positive][:-1].mean() > 0.7  # they differ where a step crosses a row of the table


def test_the_robotiq_opens_85_mm() -> None:
    gripper = load("robotiq_2f85").gripper
    assert gripper is not None
    assert gripper.max_opening == pytest.approx(0.085, abs=0.0015) and gripper.openings[-1] < 0.002


def test_mounts_of_a_catalogue_robot() -> None:
    load("mobile_aloha")
    robot = load_robot("mobile_aloha", mounts={"left": ((0.5, 0.1, 0.9), (0, 0, np.pi))})
    poses = dict(zip(robot.link_names, robot.link_poses(robot.rest)))
    np.testing.assert_allclose(poses["left/vx300s/base_link"][:3, 3], [0.5, 0.1, 0.9])
    np.testing.assert_allclose(poses["left/vx300s/base_link"][:2, :2], -np.eye(2), atol=1e-12)
    with pytest.raises(RobotError, match="no attachment 'middle'; it has left, right"):
        read_description("mobile_aloha", mounts={"middle": ((0, 0, 0), (0, 0, 0))})


def test_an_entry_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "panda"\ndrop = ["panda_hand"]\ngrippers = []\ngripper_links = []\n'
        'end_effector = { parent = "panda_link8", name = "pen", xyz = [0, 0, 0.2], rpy = [0, 0, 0] }\n'
        "rest = { panda_joint4 = -1.0 }\nhold = { panda_joint7 = 0.5 }\nlimits = { panda_joint1 = [-1, 1] }\n"
        "symmetric = {}\n"
    )
    robot = load_robot(path)
    assert robot.joint_names == tuple(f"panda_joint{i}" for i in range(1, 7)) and robot.gripper is None
    assert robot.name == "mine" and robot.ee_link == "pen" and robot.upper[0] == 1 and robot.rest[3] == -1
    whole = load_robot("panda")
    q = np.array([0.1, 0.2, 0.3, -1.0, 0.5, 1.0])
    full = whole.link_poses(np.array([*q, 0.5, 0.0]))[whole.link_names.index("panda_link8")]
    tip = robot.link_poses(q)[robot.ee_index]
    np.testing.assert_allclose(tip, full @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.2], [0, 0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(
    "text, message",
    [
        ("extends = 'pandas'", "extends 'pandas', which is not in the catalogue"),
        ("file = 'nothing.urdf'", "its file 'nothing.urdf' does not exist"),
        ("title = 'x'", "neither `file` nor `extends`"),
        ("file = 'x.urdf'\ncolour = 1", "unknown key 'colour'; known are"),
        ("this is not toml", "not readable as TOML"),
        ("extends = 'panda'\ngripper_links = ['hnad']", "gripper_links names 'hnad', which is no link; there are"),
        ("extends = 'panda'\nrest = { joint_9 = 1 }", "rest names 'joint_9', which is no independent joint"),
        ("extends = 'panda'\ndrop = ['hand']", "has no link 'hand'; it has panda_link0"),
        ("extends = 'panda'\nhold = { j = 1 }", "has no joint 'j'"),
        ("extends = 'panda'\nlimits = { panda_joint1 = [1, -1] }", "limits 1 to -1 of joint 'panda_joint1'"),
        ("extends = 'panda'\nattach = [{ parent = 'a' }]", "attaches 'nothing', which is not in the catalogue"),
        ("extends = 'panda'\ngrippers = [{ joint = 'panda_finger_joint1' }]", "incomplete or malformed"),
        ("extends = 'panda'\ncouplings = [{ joint = 'panda_joint1', of = 'panda_joint1', multiplier = 1 }]",
         "leads back to itself"),
        ("extends = 'panda'\nsource = '../../etc'", "source"),
    ],
)  # fmt: skip
def test_wrong_entries_are_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RobotError) as caught:
        load_robot(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
