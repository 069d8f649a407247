"""What frames share: how fat masks are, and honest words where nothing tells the base's angle."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pose import Camera, FitError, fit_video
from pose.azimuth import base_axis, spread
from pose.kernel import make_model, see
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT = 320, 240


def clip(robot: Robot, frames: int = 8) -> tuple[np.ndarray, Camera, list[np.ndarray]]:
    """Joints, a camera to the side, and silhouettes."""
    phase = np.linspace(0, 1, frames)[:, None]
    q = robot.clip(robot.rest + 0.3 * np.sin(2 * np.pi * (0.6 * phase + np.arange(len(robot.rest)) / 5)))
    T = np.eye(4)
    T[:3, :3] = look(np.array([0.7]), np.array([0.35]), np.array([0.0]))[0]
    T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.35]) + [0, 0, 1.9]
    camera = Camera(WIDTH, HEIGHT, np.array([[340.0, 0, 159.5], [0, 340, 119.5], [0, 0, 1]]), T)
    model = make_model(robot, robot.display_mesh)
    return q, camera, [see(model, row, T, camera.K, HEIGHT, WIDTH, 1)[0] >= 0 for row in q]


@pytest.fixture(scope="module")
def panda() -> Robot:
    return load_robot("panda")


def test_fat_masks_are_recognised(panda: Robot) -> None:
    q, camera, silhouettes = clip(panda)
    true = [{"robot": s.astype(np.uint8) * 255} for s in silhouettes]
    fat = [{"robot": cv2.dilate(m["robot"], np.ones((3, 3), np.uint8))} for m in true]
    near = np.clip(q + 0.03, panda.lower, panda.upper)
    fits = [fit_video(panda, m, camera=camera, q=near, solve=["joints"], fps=10) for m in (true, fat)]
    assert abs(fits[0].mask_offset) < 0.15 and 0.7 < fits[1].mask_offset < 1.4
    for fit in fits:
        assert np.rad2deg(np.median(np.abs(fit.q - q)[:, :7])) < 0.4


def test_a_camera_that_sees_no_robot_is_told(panda: Robot) -> None:
    q, camera, silhouettes = clip(panda)
    masks = [{"robot": s.astype(np.uint8) * 255} for s in silhouettes]
    away = np.array(camera.T_cam_base)
    away[0, 3] += 30
    with pytest.raises(FitError, match="covers none of the masks: check T_cam_base"):
        fit_video(panda, masks, camera=Camera(WIDTH, HEIGHT, camera.K, away), q=q, solve=["joints"], fps=10)


def round_robot(folder: Path, foot: str) -> Robot:
    """A bent arm of two joints on a round foot, or on one with a corner."""
    parts = [f'<robot name="arm"><link name="base"><visual>{foot}</visual></link>']
    for i, (child, parent, place, axis) in enumerate(
        (("upper", "base", "0 0 0.1", "0 0 1"), ("fore", "upper", "0 0.05 0.35", "0 1 0"))
    ):
        parts.append(
            f'<link name="{child}"><visual><origin xyz="0.1 0 0.15"/><geometry><box size="0.25 0.08 0.3"/></geometry>'
            f'</visual></link><joint name="j{i}" type="revolute"><parent link="{parent}"/><child link="{child}"/>'
            f'<origin xyz="{place}"/><axis xyz="{axis}"/><limit lower="-3" upper="3" velocity="1" effort="1"/></joint>'
        )
    path = folder / "arm.urdf"
    path.write_text("".join([*parts, "</robot>"]))
    return load_robot(path)


def test_a_round_foot_hides_the_first_joint(tmp_path: Path) -> None:
    """Its fit is right up to a turn of the base, and says that it does not know this turn."""
    observable = {}
    for name, foot in (
        ("round", '<geometry><cylinder radius="0.12" length="0.1"/></geometry>'),
        ("corner", '<origin xyz="0.1 0 0"/><geometry><box size="0.5 0.2 0.1"/></geometry>'),
    ):
        robot = round_robot(tmp_path, foot)
        q, camera, silhouettes = clip(robot)
        masks = [{"robot": s.astype(np.uint8) * 255} for s in silhouettes]
        known = Camera(WIDTH, HEIGHT, camera.K)
        fit = fit_video(robot, masks, camera=known, fps=10)
        observable[name] = fit.observable.mean(0)
        assert np.rad2deg(np.median(np.abs(fit.q - q)[:, 1])) < 2
        if name == "round":
            assert np.rad2deg(np.median(fit.sigma[:, 0])) > 30 and any("j0" in w for w in fit.warnings)
            moved, true = fit.q[:, 0] - fit.q[0, 0], q[:, 0] - q[0, 0]
            assert np.rad2deg(np.abs(moved - true).max()) < 3
        else:
            assert np.rad2deg(np.median(np.abs(fit.q - q)[:, 0])) < 2
    assert observable["round"].tolist() == [0, 1] and observable["corner"].tolist() == [1, 1]


def test_turning_the_base_under_the_arm_leaves_the_arm(panda: Robot) -> None:
    model = make_model(panda)
    axis = base_axis(model, np.ones(8, bool))
    assert axis is not None and axis.column == 0
    q, camera, _ = clip(panda)
    T, turned = axis.turn(camera.T_cam_base, q, 0.4)
    before, after = camera.T_cam_base @ panda.link_poses(q), T @ panda.link_poses(turned)
    np.testing.assert_allclose(after[:, 2:], before[:, 2:], atol=1e-9)  # row 0 the base, 1 the first link's joint
    assert np.abs(after[:, 0] - before[:, 0]).max() > 0.1
    step = 1e-6
    T, _ = axis.turn(camera.T_cam_base, q, step)
    pivot = np.array([0.1, -0.2, 1.5])
    twist = axis.direction(camera.T_cam_base, pivot)
    point = np.array([0.3, 0.1, 0.4, 1.0])
    moved = ((T - camera.T_cam_base) @ point)[:3] / step
    expected = np.cross(twist[:3], (camera.T_cam_base @ point)[:3] - pivot) + twist[3:]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_spread_of_a_parabola_and_of_nothing() -> None:
    sigma = 0.05
    assert spread(lambda a: 7 + (a / sigma) ** 2, lambda a: True) == pytest.approx(sigma, rel=0.02)
    assert spread(lambda a: 7.0, lambda a: True) == pytest.approx(np.pi / np.sqrt(3))


def test_spread_of_a_round_base_looks_past_humps() -> None:
    """Its cost goes up and down by the pixels' chance: what is farther and as good counts."""
    assert spread(lambda a: 7 + 6 * (np.sin(9 * a) > 0.95), lambda a: True) == pytest.approx(np.pi / np.sqrt(3))
    sigma = np.deg2rad(7.5)
    humped = spread(lambda a: (a / sigma) ** 2 + 9 * (0.1 < abs(a) < 0.15), lambda a: True)
    assert humped == pytest.approx(sigma, rel=0.05)
    narrow = spread(lambda a: 7.0, lambda a: abs(a) < 0.3)  # limits end it
    assert narrow == pytest.approx(np.deg2rad(12) / 2, rel=0.01)
