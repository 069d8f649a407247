"""A camera that moves while it looks at a robot."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError, fit_moving
from pose.kernel import make_model, see
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT, FRAMES, FPS = 320, 240, 10, 10.0


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot: Robot):
    """Joints, K, poses of a camera that walks a fifth of a circle, and masks."""
    phase = np.linspace(0, 1, FRAMES)
    q = robot.clip(robot.rest + 0.3 * np.sin(2 * np.pi * (0.5 * phase[:, None] + np.linspace(0, 1, 8))))
    camera = Camera.from_focal(WIDTH, HEIGHT, 320.0)
    model = make_model(robot, robot.display_mesh)
    poses, masks = [], []
    for row, share in zip(q, phase):
        T = np.eye(4)
        T[:3, :3] = look(np.array([0.5 + 0.6 * share]), np.array([0.3 + 0.1 * share]), np.array([0.02]))[0]
        T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.4]) + [0, 0, 1.7 + 0.2 * share]
        face_id = see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0]
        part = np.where(face_id >= 0, model.face_part[face_id], -1)
        masks.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
        poses.append(T)
    return q, camera, np.stack(poses), masks


def errors(fit, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres and degrees of every frame's camera."""
    found, true = np.linalg.inv(np.stack([c.T_cam_base for c in fit.cameras])), np.linalg.inv(poses)
    turn = Rotation.from_matrix(np.swapaxes(found[:, :3, :3], 1, 2) @ true[:, :3, :3]).magnitude()
    return np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1), np.rad2deg(turn)


def test_poses_from_known_joints(robot: Robot, clip) -> None:
    q, camera, poses, masks = clip
    fit = fit_moving(robot, masks, camera=camera, q=q, fps=FPS)
    metres, degrees = errors(fit, poses)
    assert metres.max() < 0.015 and degrees.max() < 0.6
    assert fit.valid.all() and (fit.camera_sigma > 0).all()
    np.testing.assert_array_equal(fit.q, q)


def test_poses_and_joints(robot: Robot, clip) -> None:
    """From the first frame's camera; a frame without a robot in between."""
    q, camera, poses, masks = clip
    holes = [dict(m) for m in masks]
    holes[4] = {name: np.zeros_like(m) for name, m in holes[4].items()}
    at = Camera(WIDTH, HEIGHT, camera.K, poses[0])
    fit = fit_moving(robot, holes, camera=at, fps=FPS)
    rest = np.arange(FRAMES) != 4
    metres, _ = errors(fit, poses)
    assert np.median(metres[rest]) < 0.05
    assert np.rad2deg(np.median(np.abs(fit.q - q)[rest][:, 1:7])) < 1.0
    assert np.isnan(fit.q[4]).all() and not fit.valid[4] and fit.valid[rest].all()
    assert any("no robot" in w for w in fit.warnings)


def test_bad_arguments_are_named(robot: Robot, clip) -> None:
    masks = clip[3]
    with pytest.raises(FitError, match="10 frames x 8"):
        fit_moving(robot, masks, q=np.zeros((2, 8)))
    with pytest.raises(FitError, match="increasing"):
        fit_moving(robot, masks, times=np.zeros(10))
    with pytest.raises(FitError, match="no frame"):
        fit_moving(robot, [{"robot": np.zeros((HEIGHT, WIDTH), np.uint8)}] * 3)
