"""Outlines pulled onto edges: drawn pictures, cameras and joints put off and brought back, a base turned back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError
from pose.azimuth import base_axis
from pose.edge_doubles import sharpen
from pose.edges import align_edges
from pose.kernel import make_model, see
from urdf import load_robot

WIDTH, HEIGHT = 320, 240
ROBOT = load_robot("panda")
MODEL = make_model(ROBOT, ROBOT.display_mesh)


def looking(place: list[float], at: list[float]) -> np.ndarray:
    z = np.subtract(at, place) / np.linalg.norm(np.subtract(at, place))
    x = np.cross(z, [0, 0, 1])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ place
    return T


CAMERAS = [
    Camera.from_focal(WIDTH, HEIGHT, 300.0, looking(place, [0.2, 0, 0.3]))
    for place in ([0.9, -0.7, 0.5], [0.6, 1.0, 0.5])
]
Q = np.array([[0.3, -0.4, 0.2, -2.0, 0.3, 1.8, 0.6, 0.03], [-0.4, 0.2, -0.3, -1.6, -0.2, 2.2, 0.1, 0.02]])


def picture(camera: Camera, q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey links before a patterned background, twice as fine and averaged, with noise."""
    face_id = see(MODEL, q, camera.T_cam_base, camera.K, HEIGHT, WIDTH, 2)[0]
    link = np.where(face_id >= 0, MODEL.face_link[np.maximum(face_id, 0)], -1)
    y, x = np.mgrid[: 2 * HEIGHT, : 2 * WIDTH]
    fine = np.where(link >= 0, 200 - 25 * (link % 2), 70 + 15 * np.sin(x / 40) * np.cos(y / 30))
    mean = fine.reshape(HEIGHT, 2, WIDTH, 2).mean((1, 3)) + rng.normal(0, 3, (HEIGHT, WIDTH))
    return np.repeat(mean.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.fixture(scope="module")
def pictures() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[picture(camera, q, rng) for q in Q] for camera in CAMERAS]


def off(cameras: list[Camera] | tuple[Camera, ...]) -> tuple[float, float]:
    """Largest error of the cameras' places (m) and turns (rad)."""
    places, turns = [], []
    for camera, true in zip(cameras, CAMERAS):
        a, b = np.linalg.inv(camera.T_cam_base), np.linalg.inv(true.T_cam_base)
        places.append(np.linalg.norm(a[:3, 3] - b[:3, 3]))
        turns.append(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude())
    return max(places), max(turns)


def nudged(rng: np.random.Generator) -> list[Camera]:
    out = []
    for camera in CAMERAS:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec(rng.normal(0, np.deg2rad(0.3), 3)).as_matrix()
        T[:3, 3] = rng.normal(0, 0.004, 3)
        out.append(replace(camera, T_cam_base=T @ camera.T_cam_base))
    return out


def test_cameras_and_joints_come_back(pictures):
    rng = np.random.default_rng(1)
    start, q = nudged(rng), Q + rng.normal(0, np.deg2rad(0.7), Q.shape) * ([1.0] * 7 + [0.0])
    found = align_edges(ROBOT, pictures, start, q)
    assert off(start)[0] > 0.006
    assert off(found.cameras)[0] < 0.004 and off(found.cameras)[1] < np.deg2rad(0.25)
    assert np.abs(found.q - Q)[:, :5].max() < np.deg2rad(0.7)
    assert found.support > 1.5 * np.nanmean(found.before)


def test_what_is_held_stays_and_rows_without_joints_are_passed_over(pictures):
    start, q = nudged(np.random.default_rng(2)), Q.copy()
    q[1] = np.nan
    found = align_edges(ROBOT, pictures, start, q, free_cameras=[False, True], free_joints=np.zeros(Q.shape[1], bool))
    np.testing.assert_array_equal(found.cameras[0].T_cam_base, start[0].T_cam_base)
    np.testing.assert_array_equal(found.q, q)
    assert np.abs(found.cameras[1].T_cam_base - start[1].T_cam_base).max() > 1e-4
    assert np.isnan(found.after[:, 1]).all() and np.isfinite(found.after[:, 0]).all()


def test_a_base_turned_under_the_arm_turns_back(pictures):
    axis = base_axis(MODEL, np.ones(Q.shape[1], bool))
    turned = [replace(c, T_cam_base=axis.turn(c.T_cam_base, Q, np.deg2rad(26))[0]) for c in CAMERAS]
    q = axis.turn(np.eye(4), Q, np.deg2rad(26))[1]
    found = sharpen(ROBOT, pictures, turned, q)
    assert off(turned)[1] > np.deg2rad(25)
    assert off(found.cameras)[1] < np.deg2rad(3)


def test_a_hand_half_a_turn_on_turns_back(pictures):
    q = Q.copy()
    q[:, 6] -= np.pi
    still = [False, False]
    found = sharpen(ROBOT, pictures, CAMERAS, q, free_cameras=still)
    assert np.abs(found.q[:, 6] - Q[:, 6]).max() < np.deg2rad(2)


def test_what_cannot_be_used_is_named(pictures):
    with pytest.raises(FitError, match="straighten"):
        align_edges(ROBOT, pictures, [replace(c, distortion=(0.1, 0, 0, 0, 0)) for c in CAMERAS], Q)
    with pytest.raises(FitError, match="straighten"):
        align_edges(ROBOT, pictures, [replace(c, T_cam_base=None) for c in CAMERAS], Q)
    with pytest.raises(FitError, match="no pictures"):
        align_edges(ROBOT, [[None, None]] * 2, CAMERAS, Q)
    with pytest.raises(FitError, match="320x240"):
        align_edges(ROBOT, pictures, [replace(c, width=300) for c in CAMERAS], Q)
