"""Fits in which part is known: joints on another clock, some of the joints, about where the camera stands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError, PosePrior, fit_video
from pose.kernel import make_model, see
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT, FPS, FRAMES = 320, 240, 5.0, 12


def joints(robot: Robot, times: np.ndarray) -> np.ndarray:
    """A brisk motion of all joints."""
    return robot.clip(robot.rest + 0.35 * np.sin(2.5 * times[:, None] + np.arange(len(robot.rest))))


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot: Robot):
    """Times, joints, camera and masks."""
    times = np.arange(FRAMES) / FPS
    q = joints(robot, times)
    T = np.eye(4)
    T[:3, :3] = look(np.array([0.8]), np.array([0.35]), np.array([0.0]))[0]
    T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.35]) + [0, 0, 1.8]
    camera = Camera.from_focal(WIDTH, HEIGHT, 330.0, T)
    return times, q, camera, [draw(robot, row, camera) for row in q]


def draw(robot: Robot, q: np.ndarray, camera: Camera) -> dict[str, np.ndarray]:
    model = make_model(robot, robot.display_mesh)
    face_id = see(model, q, camera.T_cam_base, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0]
    part = np.where(face_id >= 0, model.face_part[face_id], -1)
    return {"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255}


def metres(T: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(np.linalg.inv(T)[:3, 3] - np.linalg.inv(true)[:3, 3]))


@pytest.mark.parametrize("known", [True, False])
def test_a_late_log_is_found_with_the_camera(robot: Robot, clip, known: bool) -> None:
    times, _, camera, masks = clip
    log_times = np.arange(-0.5, times[-1] + 0.5, 0.02)
    given = camera if known else Camera(WIDTH, HEIGHT, camera.K)
    solve = ["time"] if known else ["camera", "time"]
    fit = fit_video(
        robot, masks, camera=given, q=joints(robot, log_times), q_times=log_times + 0.17, times=times, solve=solve
    )
    assert abs(fit.time_offset - 0.17) < 0.015 and 0 < fit.time_sigma < 0.05
    assert metres(fit.camera.T_cam_base, camera.T_cam_base) < 0.008
    assert "time" in fit.solved and not any("clock" in warning for warning in fit.warnings)


def test_a_log_without_the_gripper_tells_the_time_and_leaves_the_gripper_to_the_masks(robot: Robot, clip) -> None:
    times, q, camera, masks = clip
    log_times = np.arange(-0.5, times[-1] + 0.5, 0.02)
    log = joints(robot, log_times)
    log[:, robot.gripper_joints] = np.nan
    fit = fit_video(
        robot, masks, camera=camera, q=log, q_times=log_times - 0.11, times=times, solve=["time", "gripper"]
    )
    assert abs(fit.time_offset + 0.11) < 0.015 and set(fit.solved) == {"gripper", "time"}
    assert np.abs(fit.q - q)[:, robot.gripper_joints].mean() < 0.006  # metres; the gripper is some pixels wide


def test_a_robot_that_stands_tells_no_time(robot: Robot, clip) -> None:
    times, q, camera, _ = clip
    still = np.tile(q[:1], (4, 1))
    masks = [draw(robot, q[0], camera)] * 4
    fit = fit_video(robot, masks, camera=camera, q=still, times=times[:4], solve=["time"])
    assert fit.time_sigma > 0.5 and any("clock" in warning for warning in fit.warnings)


def test_log_on_its_own_times_is_interpolated(robot: Robot, clip) -> None:
    times, _, camera, masks = clip
    log_times = np.arange(-0.1, times[-1] + 0.1, 0.02)
    fit = fit_video(robot, masks[:4], camera=camera, q=joints(robot, log_times), q_times=log_times, times=times[:4])
    np.testing.assert_allclose(fit.q, joints(robot, times[:4]), atol=2e-3)
    assert fit.iou.min() > 0.97


def test_some_joints_known_others_and_the_camera_not(robot: Robot, clip) -> None:
    _, q, camera, masks = clip
    part = q.copy()
    part[:, [4, 5, 7]] = np.nan
    fit = fit_video(robot, masks[::2], camera=Camera(WIDTH, HEIGHT, camera.K), q=part[::2], fps=FPS / 2)
    np.testing.assert_array_equal(fit.q[:, [0, 1, 2, 3, 6]], q[::2][:, [0, 1, 2, 3, 6]])
    assert np.rad2deg(np.median(np.abs(fit.q - q[::2])[:, [4, 5]])) < 0.5
    assert metres(fit.camera.T_cam_base, camera.T_cam_base) < 0.008
    assert not fit.sigma[:, [0, 1, 2, 3, 6]].any() and (fit.sigma[:, [4, 5]] > 0).all()


def test_where_the_camera_is_believed_to_be(robot: Robot, clip) -> None:
    _, q, camera, masks = clip
    near = np.array(camera.T_cam_base)
    near[:3, :3] = Rotation.from_rotvec([0.05, -0.04, 0.03]).as_matrix() @ near[:3, :3]
    near[:3, 3] += [0.03, -0.02, 0.05]
    fit = fit_video(robot, masks[::3], camera=Camera(WIDTH, HEIGHT, camera.K), pose_prior=PosePrior(near), fps=FPS / 3)
    # the base's azimuth is what masks tell worst: there the belief has its say
    assert metres(fit.camera.T_cam_base, camera.T_cam_base) < 0.4 * metres(near, camera.T_cam_base)
    assert np.rad2deg(np.median(np.abs(fit.q - q[::3])[:, 1:7])) < 1.0
    # a firm belief holds against the masks
    firm = PosePrior(near, rotation=1e-5, translation=1e-5)
    held = fit_video(robot, masks[:2], camera=Camera(WIDTH, HEIGHT, camera.K), q=q[:2], pose_prior=firm)
    np.testing.assert_allclose(held.camera.T_cam_base, near, atol=2e-3)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"solve": ["camera", "time"]}, "12 x 8 finite"),
        ({"q": np.zeros((3, 8)), "q_times": np.array([0.0, 0.0, 1.0])}, "must increase"),
        ({"q": np.zeros((3, 8)), "q_times": np.arange(4.0)}, "4 x 8 finite"),
        ({"q": np.zeros((12, 8)), "solve": ["joints", "camera", "focal", "time"]}, "cannot both"),
    ],
)
def test_bad_clocks_are_named(robot: Robot, clip, change, word) -> None:
    with pytest.raises(FitError, match=word) as caught:
        fit_video(robot, clip[3], **change)
    assert "\n" not in str(caught.value)
