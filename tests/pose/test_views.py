"""Several cameras that see one robot at the same instants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError, PosePrior, fit_views
from pose.bundle import Free, Look, State, _total, assemble, pivot_points, settle, stepped
from pose.kernel import make_model, see
from pose.priors import Priors, Steady
from pose.solver import View
from pose.start import look
from pose.tracking import MIDDLE
from urdf import Robot, load_robot

INSTANTS, WIDTH, HEIGHT = 4, 320, 240


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def rig(robot: Robot):
    """Joints (T,8), three cameras around the robot, and their masks."""
    phase = np.linspace(0, 1, INSTANTS)[:, None]
    q = robot.clip(robot.rest + 0.4 * np.sin(2 * np.pi * (0.7 * phase + np.linspace(0, 1, 8))))
    cameras, masks = [], []
    model = make_model(robot, robot.display_mesh)
    for azimuth, elevation in ((0.5, 0.3), (2.0, 0.5), (-1.2, 0.2)):
        T = np.eye(4)
        T[:3, :3] = look(np.array([azimuth]), np.array([elevation]), np.array([0.02]))[0]
        T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.4]) + [0, 0, 1.8]
        camera = Camera.from_focal(WIDTH, HEIGHT, 320.0, T)
        cameras.append(camera)
        rows = []
        for row in q:
            face_id = see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0]
            part = np.where(face_id >= 0, model.face_part[face_id], -1)
            rows.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
        masks.append(rows)
    return q, cameras, masks


def error(T: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Metres and degrees between two cameras."""
    a, b = np.linalg.inv(T), np.linalg.inv(true)
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.rad2deg(turn))


def unposed(camera: Camera) -> Camera:
    return Camera(camera.width, camera.height, camera.K)


def test_cameras_from_known_joints(robot: Robot, rig) -> None:
    q, cameras, masks = rig
    fit = fit_views(robot, masks[:2], [unposed(c) for c in cameras[:2]], q=q)
    for camera, true in zip(fit.cameras, cameras):
        metres, degrees = error(camera.T_cam_base, true.T_cam_base)
        assert metres < 0.006 and degrees < 0.3
    baseline = cameras[0].T_cam_base @ np.linalg.inv(cameras[1].T_cam_base)
    np.testing.assert_allclose(fit.T_view_view(0, 1), baseline, atol=0.006)
    assert fit.valid.all() and not fit.sigma.any() and np.abs(fit.covariance[:6, 6:]).max() < 1e-12


def test_one_known_camera_gives_the_joints_and_the_other_cameras(robot: Robot, rig) -> None:
    """The second view has no picture at one instant, the third is believed to stand somewhere."""
    q, cameras, masks = rig
    second = [masks[1][0], None, *masks[1][2:]]
    moved = np.array(cameras[2].T_cam_base)
    moved[:3, 3] += [0.03, -0.02, 0.03]
    fit = fit_views(
        robot, [masks[0], second, masks[2]], [cameras[0], unposed(cameras[1]), unposed(cameras[2])],
        priors={2: PosePrior(moved)},
    )  # fmt: skip
    assert fit.cameras[0].T_cam_base is cameras[0].T_cam_base or np.allclose(
        fit.cameras[0].T_cam_base, cameras[0].T_cam_base
    )
    for v in (1, 2):
        metres, degrees = error(fit.cameras[v].T_cam_base, cameras[v].T_cam_base)
        assert metres < 0.01 and degrees < 0.5
    assert np.rad2deg(np.median(np.abs(fit.q - q)[:, :7])) < 0.4
    assert np.isnan(fit.iou[1, 1]) and np.isfinite(fit.iou[0]).all()
    assert not fit.covariance[:6, :6].any() and (np.diag(fit.covariance)[6:] > 0).all()
    # errors of two cameras that look at the same unknown joints go together
    assert np.abs(fit.covariance[6:12, 12:]).max() > 0


@pytest.mark.parametrize(
    "change, word",
    [
        ({"cameras": [None]}, "3 views but 1 cameras"),
        ({"q": np.zeros((2, 8))}, "4 instants x 8"),
        ({"q": np.full((4, 8), np.nan)}, "finite"),
        ({"times": np.zeros(4)}, "increasing"),
    ],
)
def test_bad_arguments_are_named(robot: Robot, rig, change, word) -> None:
    with pytest.raises(FitError, match=word) as caught:
        fit_views(robot, rig[2], **change)
    assert "\n" not in str(caught.value)


def test_views_of_other_lengths_or_parts_are_named(robot: Robot, rig) -> None:
    masks = rig[2]
    with pytest.raises(FitError, match="instants"):
        fit_views(robot, [masks[0], masks[1][:2]])
    with pytest.raises(FitError, match="different parts"):
        fit_views(robot, [masks[0], [{"robot": m["robot"]} for m in masks[1]]])
    with pytest.raises(FitError, match="no masks at all"):
        fit_views(robot, [masks[0], [None] * 4])


def test_priors_pull_as_their_derivatives_say(robot: Robot, rig) -> None:
    """Gradients of the pulls on poses against differences of their cost, about the point that poses turn about."""
    q, cameras, _ = rig
    model = make_model(robot)
    poses = np.stack([c.T_cam_base for c in cameras])
    poses[1:] = poses[0]
    poses[1, :3, 3] += [0.01, 0.02, -0.01]
    poses[2, :3, :3] = Rotation.from_rotvec([0.01, -0.02, 0.03]).as_matrix() @ poses[2, :3, :3]
    lens = see_lens(cameras[0])
    looks = [Look(np.zeros((2, HEIGHT // 2, WIDTH // 2), np.float32), i, 0, i) for i in range(3)]
    state = State(q[:3], poses, (lens,))
    priors = Priors(None, {0: PosePrior(poses[1])}, (Steady((0, 1, 2), (0.0, 0.1, 0.3), (2.0, 3.0)),))
    pivots = pivot_points(model, state, looks)
    _, g = assemble([], state, [], priors, pivots)
    free = Free(np.ones((3, 6), bool), np.zeros((1, 3), bool), np.zeros(8, bool))
    for k in range(18):
        step = np.zeros(state.size)
        step[k] = 1e-5
        ends = [stepped(state, sign * step, pivots, free, (robot.lower, robot.upper)) for sign in (-1, 1)]
        # the pivot moves with its pose
        costs = [_total([], end, priors, pivot_points(model, end, looks)) for end in ends]
        slope = (costs[1] - costs[0]) / 2e-5
        assert slope == pytest.approx(2 * g[k], rel=0.05, abs=0.02 * np.abs(g[:18]).max())


def see_lens(camera: Camera):
    K = np.asarray(camera.scaled(0.5).K)
    return View(WIDTH // 2, HEIGHT // 2, K, np.eye(4))


def test_a_prior_decides_where_masks_say_nothing(robot: Robot, rig) -> None:
    q, cameras, _ = rig
    model = make_model(robot)
    away = np.array(cameras[0].T_cam_base)
    away[2, 3] = -3.0  # behind the camera: no mask, no pull
    prior = PosePrior(away)
    start = np.array(away)
    start[0, 3] += 0.2
    state = State(q[:1], start[None], (see_lens(cameras[0]),))
    looks = [Look(np.zeros((2, HEIGHT // 2, WIDTH // 2), np.float32))]
    free = Free(np.ones((1, 6), bool), np.zeros((1, 3), bool), np.zeros(8, bool))
    channels = np.array([[1, 1], [0, 1]], np.float32)
    end = settle(
        model, state, looks, channels, MIDDLE, free, (robot.lower, robot.upper), priors=Priors(None, {0: prior})
    )
    np.testing.assert_allclose(end.state.poses[0], away, atol=1e-3)
