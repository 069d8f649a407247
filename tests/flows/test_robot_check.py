"""`urdfit robots check` and its picture: what is wrong with a description is said, all of it, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.cli import main
from flows.contact_sheet import contact_sheet, write_sheet
from flows.robot_check import check_robot
from flows.robot_findings import limit_flag
from flows.robot_symmetry import turn_changes
from flows.robot_tables import full_mesh, shortened, tree_lines
from flows.robot_views import base_mask, floor_height, framed, gripper_positions, orientation, random_poses, vertices
from urdf import Robot, load_robot
from urdf.meshes import open_edges

BOX = '<visual><geometry><box size="0.1 0.08 0.3"/></geometry></visual>'
ROUND = '<visual><geometry><cylinder radius="0.05" length="0.2"/></geometry></visual>'
FINGER = '<visual><geometry><box size="0.06 0.01 0.1"/></geometry></visual>'


def toy(folder: Path, **changes: str) -> Path:
    """An arm of two joints, the second turning a round flange about its own axis, and two fingers."""
    parts = {
        "base": BOX, "upper": BOX, "flange": ROUND, "limit": 'lower="-1" upper="2"', "xyz": "0 0 0.3",
        "mimic": '<mimic joint="left"/>', "extra": "",
    } | changes  # fmt: skip
    path = folder / "toy.urdf"
    path.write_text(f"""<robot name="toy">
      <link name="base">{parts["base"]}</link><link name="upper">{parts["upper"]}</link>
      <link name="flange">{parts["flange"]}</link>
      <link name="left_finger">{FINGER}</link><link name="right_finger">{FINGER}</link>
      <joint name="lift" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="{parts["xyz"]}"/>
        <axis xyz="0 1 0"/><limit {parts["limit"]} velocity="1" effort="1"/></joint>
      <joint name="turn" type="continuous"><parent link="upper"/><child link="flange"/><origin xyz="0 0 0.3"/>
        <axis xyz="0 0 1"/></joint>
      <joint name="left" type="prismatic"><parent link="flange"/><child link="left_finger"/>
        <origin xyz="0 0.005 0.15"/><axis xyz="0 1 0"/><limit lower="0" upper="0.03" velocity="1" effort="1"/></joint>
      <joint name="right" type="prismatic"><parent link="flange"/><child link="right_finger"/>
        <origin xyz="0 -0.005 0.15"/><axis xyz="0 -1 0"/><limit lower="0" upper="0.03" velocity="1" effort="1"/>
        {parts["mimic"]}</joint>
      {parts["extra"]}</robot>""")
    return path


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    return load_robot(str(toy(tmp_path_factory.mktemp("arm"))))


def finding(path: Path, words: str) -> tuple[str, str]:
    """State and all text of the one finding that says so."""
    found = [f for f in check_robot(str(path)).findings if words in f.text]
    assert len(found) == 1, [f.text for f in check_robot(str(path)).findings]
    return found[0].state, "\n".join([found[0].text, *found[0].lines])


def test_a_sound_robot_passes(tmp_path: Path) -> None:
    check = check_robot(str(toy(tmp_path)))
    assert check.passed and check.robot is not None
    assert {f.state for f in check.findings} == {"ok"}
    text = finding(tmp_path / "toy.urdf", "gripper left opens")[1]
    assert "0 to 60 mm" in text and "15.0 mm: 30.0 mm" in text
    assert finding(tmp_path / "toy.urdf", "1 coupling")[1].endswith("right = 1 x left")


def test_all_missing_and_broken_meshes_are_listed(tmp_path: Path) -> None:
    (tmp_path / "broken.stl").write_bytes(b"no mesh at all")
    mesh = '<visual><geometry><mesh filename="{}"/></geometry></visual>'
    path = toy(tmp_path, base=mesh.format("one.stl"), upper=mesh.format("two.dae"), flange=mesh.format("broken.stl"))
    check = check_robot(str(path))
    assert not check.passed and check.robot is not None
    text = "\n".join(check.findings[0].lines)
    assert "3 meshes" in check.findings[0].text and all(n in text for n in ("one.stl", "two.dae", "broken.stl"))


def test_nothing_to_draw(tmp_path: Path) -> None:
    path = tmp_path / "bare.urdf"
    path.write_text('<robot name="bare"><link name="a"/></robot>')
    check = check_robot(str(path))
    assert check.robot is None and not check.passed


def test_millimetres_are_noticed(tmp_path: Path) -> None:
    big = '<visual><geometry><box size="100 80 300"/></geometry></visual>'
    assert "scale 0.001" in finding(toy(tmp_path, upper=big), "cannot be metres")[1]
    assert "origins in millimetres" in finding(toy(tmp_path, xyz="0 0 300"), "cannot be metres")[1]


@pytest.mark.parametrize(
    ("kind", "lower", "upper", "words"),
    [
        ("revolute", -1.0, 1.0, ""),
        ("continuous", -np.pi, np.pi, ""),
        ("revolute", 0.5, 0.5, "cannot move"),
        ("revolute", 0.0, 0.003, "turns only"),
        ("prismatic", -10.0, 10.0, "without a limit"),
        ("prismatic", 0.0, 5.0, "millimetres?"),
    ],
)
def test_odd_limits(kind: str, lower: float, upper: float, words: str) -> None:
    flag = limit_flag(kind, lower, upper)
    assert words in flag and bool(flag) == bool(words)


def test_odd_limits_are_told_with_the_joint(tmp_path: Path) -> None:
    state, text = finding(toy(tmp_path, limit='lower="1" upper="1"'), "odd limits")
    assert state == "warn" and "lift: cannot move" in text


def test_limits_in_degrees_are_noticed(tmp_path: Path) -> None:
    state, text = finding(toy(tmp_path, limit='lower="-170" upper="170"'), "unusable limits")
    assert state == "warn" and "lift: -170 .. 170" in text and "degrees?" in text
    assert "no limits" in finding(toy(tmp_path, limit=""), "unusable limits")[1]


def test_a_coupling_beyond_limits(tmp_path: Path) -> None:
    state, text = finding(toy(tmp_path, mimic='<mimic joint="left" multiplier="3"/>'), "beyond")
    assert state == "warn" and "right is led to 0 .. 0.09" in text


def test_a_robot_without_gripper_says_how_to_label_one(tmp_path: Path) -> None:
    path = tmp_path / "arm.urdf"
    path.write_text(re.sub("(left|right)_finger", r"\1_tine", toy(tmp_path).read_text()))
    state, text = finding(path, "no gripper found")
    assert state == "warn" and "gripper_links" in text


def test_turns_that_cannot_be_seen(arm: Robot, tmp_path: Path) -> None:
    lift, turn = arm.joint_names.index("lift"), arm.joint_names.index("turn")
    assert turn_changes(arm, lift).max() > 0.3
    # the fingers show every turn but half of one
    assert turn_changes(arm, turn, (np.pi / 2,))[0] > 0.01 and turn_changes(arm, turn, (np.pi,))[0] < 1e-3
    path = tmp_path / "round.urdf"
    path.write_text(toy(tmp_path).read_text().replace(FINGER, ""))
    state, text = finding(path, "shows badly")
    assert state == "warn" and "turn: nothing to see" in text


def test_tree_names_every_link_in_100_columns(arm: Robot, tmp_path: Path) -> None:
    check = check_robot(str(toy(tmp_path)))
    lines = tree_lines(check.description, check.robot)
    assert len(lines) == 5 and all(len(line) <= 100 for line in lines)
    assert lines[0].endswith("base") and lines[1].startswith(" upper ") and "turns -57 .. 115°" in lines[1]
    assert "follows left" in lines[4] and lines[4].endswith("gripper")
    assert shortened("x" * 50, 21) == "x" * 10 + "…" + "x" * 10


def test_open_edges_are_counted(arm: Robot, tmp_path: Path) -> None:
    check = check_robot(str(toy(tmp_path)))
    assert check.robot is not None
    mesh = full_mesh(check.description, check.robot)
    assert open_edges(mesh, 5).tolist() == [0] * 5
    kept = np.arange(len(mesh.faces)) != np.nonzero(mesh.face_link == 1)[0][0]
    torn = replace(mesh, faces=mesh.faces[kept], face_link=mesh.face_link[kept], face_color=mesh.face_color[kept])
    assert open_edges(torn, 5).tolist() == [0, 3, 0, 0, 0]


def test_random_poses_stay_above_the_floor(arm: Robot) -> None:
    poses = random_poses(arm, 5)
    assert poses.shape == (5, 4 - 1) and np.array_equal(poses, random_poses(arm, 5))
    for q in poses:
        assert (arm.lower <= q).all() and (q <= arm.upper).all()
        assert vertices(arm, arm.mesh, q)[:, 2].min() > floor_height(arm) - 0.05
    assert base_mask(arm).tolist() == [True, False, False, False, False]


def test_the_camera_sees_the_whole_robot_and_fills_the_picture(arm: Robot) -> None:
    for towards in ((1, 0.5, 0.4), (-1, 0.2, 0.1), (0.1, 1, 3)):
        points = vertices(arm, arm.mesh, arm.rest)
        camera = framed(points, orientation(np.array(towards, float), np.array([0.0, 0.0, 1.0])), (240, 296))
        uv = camera.project(points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3])
        assert uv.min() > 0 and (uv.max(0) < (240, 296)).all()
        assert (np.ptp(uv, axis=0) / (240, 296)).max() > 0.7
        up = camera.T_cam_base[:3, :3] @ [0, 0, 1]
        assert up[1] < 0  # y points down in pictures


def test_gripper_positions_run_from_closed_to_open(arm: Robot) -> None:
    q, openings = gripper_positions(arm)
    assert openings == pytest.approx([0, 0.03, 0.06], abs=1e-3) and q.shape == (3, 3)


def test_contact_sheet_shows_parts_and_is_small(arm: Robot, tmp_path: Path) -> None:
    picture = contact_sheet(arm, "a toy")
    write_sheet(tmp_path / "toy.png", picture)
    stored = cv2.imread(str(tmp_path / "toy.png"))
    assert stored.shape == picture.shape and (tmp_path / "toy.png").stat().st_size < 150_000
    assert np.abs(stored[..., ::-1].astype(int) - picture).mean() < 4  # the palette takes little away
    hue = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    vivid = hue[..., 1] > 90
    orange, green = vivid & (np.abs(hue[..., 0] - 20.0) < 6), vivid & (np.abs(hue[..., 0] - 80.0) < 10)
    assert orange.sum() > 20_000 and green.sum() > 8000
    assert green[346:, 242:].sum() > 2 * green[346:, :240].sum()  # close-ups of the gripper fill the lower right


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = toy(tmp_path)
    assert main(["robots", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out and "pinocchio" in out and "sheet: toy-sheet.png" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 100
    assert (tmp_path / "toy-sheet.png").stat().st_size > 1000
    assert main(["robots", "check", str(path), "--sheet", "x.jpg"]) == 2
    path = toy(tmp_path, base='<visual><geometry><mesh filename="a.stl"/></geometry></visual>')
    capsys.readouterr()
    assert main(["robots", "check", str(path), "--sheet", "more/x.png"]) == 1
    assert "a.stl" in capsys.readouterr().out and (tmp_path / "more" / "x.png").is_file()
    assert main(["robots", "show", str(path)]) == 1 and "a.stl" in capsys.readouterr().err


def test_list_and_show_tell_origin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import urdf.sources

    def never(name: str) -> Path:
        raise AssertionError(f"{name} was fetched")

    with monkeypatch.context() as patched:
        patched.setattr(urdf.sources, "folder", never)
        assert main(["robots", "list"]) == 0
    out = capsys.readouterr().out
    assert "Apache-2.0" in out and "installed" in out and "absent" in out
    assert main(["robots", "show", "panda"]) == 0
    out = capsys.readouterr().out
    assert "licence: Apache-2.0" in out and "rtb_data, 2.0.0" in out and "(installed)" in out


def test_fetch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import urdf.sources
    from urdf.errors import RobotError

    fetched = []

    def folder(name: str) -> Path:
        fetched.append(name)
        if name == "fanuc":
            raise RobotError("no network")
        return Path("somewhere") / name

    monkeypatch.setattr(urdf.sources, "folder", folder)
    assert main(["robots", "fetch", "ur5e_robotiq"]) == 0 and fetched == ["airo_models"]
    assert "somewhere" in capsys.readouterr().out
    assert main(["robots", "fetch", "--all"]) == 1 and len(fetched) == len(set(fetched)) + 1 > 8
    assert "fanuc" in capsys.readouterr().err
    assert main(["robots", "fetch", "no_robot"]) == 1
    assert main(["robots", "fetch"]) == 2
