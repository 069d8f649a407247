"""Cameras placed by the robot: unknown, wrongly given, blind, on another clock, with depth in other units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose.camera import Camera
from pose.kernel import make_model, see
from segmentation.video import open_video
from twin import Rig, RigCamera, TwinError
from twin.depth import DepthFolder
from twin.place import place_rig
from twin.place_check import apart
from twin.place_depth import check_depth
from twin.sync import clock_offset
from urdf import Robot, load_robot

WIDTH, HEIGHT, COUNT = 240, 180, 5
EYES = ((1.3, 0.7, 0.8), (0.9, -1.1, 0.7))


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


def look(eye) -> Camera:
    """A camera that looks at the middle of the arm."""
    eye, z = np.array(eye), np.array([0.25, 0, 0.4]) - eye
    z = z / np.linalg.norm(z)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return Camera.from_focal(WIDTH, HEIGHT, 200.0, T)


@pytest.fixture(scope="module")
def poses(robot) -> np.ndarray:
    rng = np.random.default_rng(3)
    return robot.rest + rng.uniform(-0.5, 0.5, (COUNT, len(robot.rest))) * (np.arange(len(robot.rest)) < 7)


def drawn(robot: Robot, q: np.ndarray, camera: Camera) -> tuple[list, np.ndarray]:
    """Masks, and depth (T,H,W) in metres of the robot alone."""
    model = make_model(robot, robot.display_mesh)
    masks, depths = [], []
    for row in q:
        face_id, inverse, _ = see(model, row, camera.T_cam_base, np.asarray(camera.K), HEIGHT, WIDTH, 1)
        part = np.where(face_id >= 0, model.face_part[np.maximum(face_id, 0)], -1)
        masks.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
        depths.append(np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0))
    return masks, np.array(depths)


def make_rig(cameras: list[Camera], stamps: np.ndarray | None = None) -> Rig:
    stamps = np.arange(COUNT, dtype=float) if stamps is None else stamps
    return Rig(
        tuple(
            RigCamera(f"cam{i}", lambda: open_video("never"), Path(), c, stamps=stamps) for i, c in enumerate(cameras)
        )
    )


@pytest.fixture(scope="module")
def seen(robot, poses):
    """True cameras and their masks."""
    cameras = [look(eye) for eye in EYES]
    return cameras, [drawn(robot, poses, camera)[0] for camera in cameras]


def millimetres(camera: Camera, truth: Camera) -> float:
    return 1e3 * apart(camera.T_cam_base, truth.T_cam_base)[0]


@pytest.fixture(scope="module")
def placed(robot, poses, seen):
    """The first camera unknown, the second 8 cm off, a third that sees nothing; joints known."""
    cameras, masks = seen
    wrong = cameras[1].T_cam_base.copy()
    wrong[0, 3] += 0.08
    rig = make_rig([replace(cameras[0], T_cam_base=None), replace(cameras[1], T_cam_base=wrong), cameras[0]])
    black = [{part: np.zeros_like(mask) for part, mask in one.items()} for one in masks[0]]
    return place_rig(rig, robot, [*masks, black], joints=(poses, None))


def test_unknown_and_wrong_poses_are_found_and_a_blind_camera_is_named(placed, poses, seen):
    cameras, _ = seen
    assert [s.state for s in placed.statements] == ["placed", "repaired", "left out"]
    assert abs(placed.statements[1].moved_m - 0.08) < 0.004 and "no robot" in placed.statements[2].text
    assert all(millimetres(placed.rig.cameras[v].camera, cameras[v]) < 4 for v in (0, 1))
    assert placed.rig.cameras[2].camera.T_cam_base is None and placed.views == (0, 1)
    np.testing.assert_allclose(placed.joints_at(1.5), (poses[1] + poses[2]) / 2, atol=1e-9)
    assert placed.joints_at(-3.0) is None and placed.joints_at(COUNT + 3.0) is None


@pytest.mark.parametrize(("factor", "says"), [(1000.0, "taken as 0.001 m"), (0.5, "left out"), (1.0, "")])
def test_depth_in_wrong_units_is_seen_by_the_robots_size(placed, robot, poses, seen, tmp_path, factor, says):
    depth = drawn(robot, poses, seen[0][0])[1]
    files = tuple(tmp_path / f"{i}.png" for i in range(COUNT))
    for file, one in zip(files, depth):
        cv2.imwrite(str(file), np.round(one * 1000).astype(np.uint16))
    camera = replace(placed.rig.cameras[0], depth=DepthFolder(files, 1e-3 * factor))
    found, text = check_depth(camera, robot, placed.fit, 0, placed.motion.times)
    assert says in text and bool(text) == (factor != 1)
    assert found.depth is None if factor == 0.5 else found.depth.scale == pytest.approx(1e-3)


def test_what_cannot_be_placed_is_said(robot, poses, seen):
    cameras, masks = seen
    rig = make_rig(cameras)
    black = [{"robot": np.zeros((HEIGHT, WIDTH), np.uint8)}] * COUNT
    with pytest.raises(TwinError, match="cam0: it sees no robot in any of 5 frames looked at; cam1: it has no masks"):
        place_rig(rig, robot, [black, None])
    with pytest.raises(TwinError, match="2 cameras but 1 sets"):
        place_rig(rig, robot, masks[:1])
    with pytest.raises(TwinError, match="expected 5 rows"):
        place_rig(rig, robot, masks, joints=(poses[:3], None))
    gappy = poses.copy()
    gappy[2, 1] = np.nan
    with pytest.raises(TwinError, match="panda_joint2 is missing"):
        place_rig(rig, robot, masks, joints=(gappy, None))


@pytest.mark.slow
def test_with_unknown_joints_a_pose_that_contradicts_is_found_anew(robot, poses, seen):
    cameras, masks = seen
    third = look((-0.2, 1.4, 0.9))
    turned = third.T_cam_base.copy()
    turned[:3, 3] += [0.3, 0.1, 0]
    rig = make_rig([*cameras, replace(third, T_cam_base=turned)])
    placed = place_rig(rig, robot, [*masks, drawn(robot, poses, third)[0]])
    assert [s.state for s in placed.statements] == ["confirmed", "confirmed", "repaired"]
    assert "contradicts" in placed.statements[2].text
    assert millimetres(placed.rig.cameras[2].camera, third) < 8


@given(shift=st.floats(-1.5, 1.5), seed=st.integers(0, 50))
@settings(deadline=None, max_examples=15)
def test_clocks_are_compared_by_motion(shift, seed):
    rng = np.random.default_rng(seed)
    knots = np.arange(-3, 14, 0.7)
    speed = np.interp(np.arange(-3, 13, 0.01), knots, rng.uniform(0, 1, len(knots)) ** 2)

    def curve(times):
        middle = (times[1:] + times[:-1]) / 2
        return np.interp(middle, np.arange(-3, 13, 0.01), speed) * rng.uniform(0.5, 2) + rng.normal(
            0, 0.03, len(middle)
        )

    first, second = np.arange(0, 10, 1 / 30), np.arange(0, 10, 1 / 25)
    found = clock_offset(curve(first), first, curve(second + shift), second)
    assert found.told and abs(found.seconds - shift) < 0.03


def test_a_robot_that_stands_tells_no_clock():
    times = np.arange(0, 5, 1 / 30)
    noise = np.random.default_rng(0).normal(0.02, 0.01, (2, len(times) - 1))
    assert not clock_offset(noise[0], times, noise[1], times).told
    assert not clock_offset(noise[0][:10], times[:11], noise[1][:10], times[:11]).told
