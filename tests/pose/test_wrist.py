"""A camera on the wrist: found on its link, with the gripper, and with the base where joints are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError, fit_wrist
from pose.kernel import make_model, see
from pose.wrist import Mount
from urdf import Robot, load_robot
from urdf.rooted import carried_with, only_links

WIDTH, HEIGHT, FRAMES, FPS = 320, 240, 8, 10.0
LINK = "panda_hand"


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot: Robot):
    """Joints, the camera with T_cam_hand as its T_cam_base, and masks: 8 cm beside the hand, past its fingers."""
    phase = np.linspace(0, 1, FRAMES)
    q = robot.clip(robot.rest + 0.3 * np.sin(2 * np.pi * (0.5 * phase[:, None] + np.linspace(0, 1, 8))))
    q[:, 7] = 0.02 + 0.018 * np.sin(2 * np.pi * phase)
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("yz", [20, 12], degrees=True).as_matrix()
    T[:3, 3] = -T[:3, :3] @ [0.085, 0.02, -0.06]
    camera = Camera.from_focal(WIDTH, HEIGHT, 200.0, T)
    model = make_model(robot, robot.display_mesh)
    masks = []
    for row, links in zip(q, robot.link_poses(q)):
        at = T @ np.linalg.inv(links[robot.link_names.index(LINK)])
        face_id = see(model, row, at, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0]
        part = np.where(face_id >= 0, model.face_part[face_id], -1)
        masks.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
    return q, camera, masks


def apart(T: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Metres and degrees between two cameras on the link."""
    a, b = np.linalg.inv(T), np.linalg.inv(other)
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.rad2deg(turn))


def test_nothing_known_but_the_robot(robot: Robot, clip) -> None:
    q, camera, masks = clip
    fit = fit_wrist(robot, masks, link=LINK, fps=FPS)
    metres, degrees = apart(fit.T_cam_link, camera.T_cam_base)
    assert metres < 0.005 and degrees < 1.5 and abs(fit.camera.focal / camera.focal - 1) < 0.03
    assert np.abs(fit.q[:, 7] - q[:, 7]).max() < 0.003 and fit.observable[:, 7].all()
    assert np.isnan(fit.q[:, :7]).all() and not fit.observable[:, :7].any()  # a hand looks the same in every pose
    assert fit.valid.all() and fit.cameras == () and fit.camera.T_cam_base is None


def test_joints_known_and_the_base_with_them(robot: Robot, clip) -> None:
    q, camera, masks = clip
    given = q.copy()
    given[:, 7] = np.nan
    holes = [dict(m) for m in masks]
    holes[4] = {name: np.zeros_like(m) for name, m in holes[4].items()}
    fit = fit_wrist(robot, holes, link=LINK, camera=camera, q=given, fps=FPS)
    metres, degrees = apart(fit.T_cam_link, camera.T_cam_base)
    assert metres < 0.003 and degrees < 1.0 and fit.focal_sigma == 0
    seen = np.arange(FRAMES) != 4
    assert np.abs(fit.q[seen, 7] - q[seen, 7]).max() < 0.003 and not fit.valid[4]
    np.testing.assert_array_equal(fit.q[seen, :7], q[seen, :7])
    links = robot.link_poses(q)[:, robot.link_names.index(LINK)]
    for t in range(FRAMES):  # also where nothing is seen
        assert apart(fit.cameras[t].T_cam_base, camera.T_cam_base @ np.linalg.inv(links[t]))[0] < 0.01


def test_a_hand_and_cameras_beside_it(robot: Robot) -> None:
    hand = only_links(robot, carried_with(robot, LINK))
    mount = Mount.of(hand, LINK)
    assert mount.axis[2] > 0.99  # the hand's triangles lie a little to one side
    assert 0.18 < mount.length < 0.24  # from the flange's joint to the fingertips
    T = mount.guess(200, np.random.default_rng(0))
    np.testing.assert_allclose(
        T[:, :3, :3] @ np.swapaxes(T[:, :3, :3], 1, 2), np.tile(np.eye(3), (200, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(T[:, :3, :3]), 1.0)
    eye = np.linalg.inv(T)[:, :3, 3] - mount.begin
    beside = np.linalg.norm(eye - np.outer(eye @ mount.axis, mount.axis), axis=1)
    assert beside.min() > 0.01 and beside.max() < 0.17
    assert (T[:, 2, :3] @ mount.axis > 0).mean() > 0.95  # they look along the hand
    half = mount.half_turn()
    np.testing.assert_allclose(half @ half, np.eye(4), atol=1e-9)


def test_bad_arguments_are_named(robot: Robot, clip) -> None:
    q, _, masks = clip
    broken = q.copy()
    broken[2, 3] = np.nan
    with pytest.raises(FitError, match="those of the arm finite"):
        fit_wrist(robot, masks, q=broken)
    with pytest.raises(FitError, match="8 frames x 8"):
        fit_wrist(robot, masks, q=q[:3])
    with pytest.raises(FitError, match="no masks"):
        fit_wrist(robot, [])
    empty = [{name: np.zeros_like(m) for name, m in mask.items()} for mask in masks]
    with pytest.raises(FitError, match="no frame"):
        fit_wrist(robot, empty, q=q)
