"""A clip's fit pulled onto the pictures' edges: errors shrink, what was given stays, contradicting masks are heeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_edges import CAMERAS, HEIGHT, MODEL, ROBOT, WIDTH, Q, picture

from pose import FitError, Trajectory, sharpen_video
from pose.kernel import see

FRAMES = 5
CAMERA = CAMERAS[0]
TRUE = Q[0] + np.linspace(0, 1, FRAMES)[:, None] * np.array([0.15, 0.1, -0.1, 0.1, 0.1, -0.1, 0.1, 0.005])
TIMES = np.arange(FRAMES) / 10


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [picture(CAMERA, q, rng) for q in TRUE]


@pytest.fixture(scope="module")
def masks() -> list[dict[str, np.ndarray]]:
    seen = [see(MODEL, q, CAMERA.T_cam_base, CAMERA.K, HEIGHT, WIDTH, 1)[0] >= 0 for q in TRUE]
    return [{"robot": np.where(mask, 255, 0).astype(np.uint8)} for mask in seen]


def start(camera_known: bool = False, joints_known: bool = False) -> Trajectory:
    """A fit as masks give it: a centimetre and a degree off, where it is not given."""
    rng, n = np.random.default_rng(3), len(ROBOT.joint_names)
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.deg2rad([0.3, -0.3, 0.5])).as_matrix()
    T[:3, 3] = 0.006, -0.004, 0.012
    camera = CAMERA if camera_known else replace(CAMERA, T_cam_base=T @ CAMERA.T_cam_base)
    q = TRUE if joints_known else TRUE + np.deg2rad(rng.choice([-1.0, 1.0], n)) * ([1.0] * 7 + [0.1])
    solved = ("camera",) * (not camera_known) + ("joints", "gripper") * (not joints_known)
    return Trajectory(
        ROBOT.joint_names, q, np.full(TRUE.shape, 0.0 if joints_known else 0.01), np.ones(TRUE.shape, bool),
        np.full(FRAMES, 0.95), np.ones(FRAMES, bool), camera, np.full(6, 0.0 if camera_known else 0.01), 0.0, 0.0,
        solved, warnings=("said before",),
    )  # fmt: skip


def place_error(fit: Trajectory) -> float:
    a, b = np.linalg.inv(fit.camera.T_cam_base), np.linalg.inv(CAMERA.T_cam_base)
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def joint_error(fit: Trajectory) -> float:
    return float(np.rad2deg(np.median(np.abs(fit.q - TRUE)[:, :6])))


def test_camera_and_joints_come_nearer(pictures, masks):
    before = start()
    found = sharpen_video(ROBOT, before, masks, lambda: iter(pictures), TIMES)
    assert place_error(before) > 0.012 and place_error(found) < 0.5 * place_error(before)
    assert joint_error(found) < 0.5 * joint_error(before)
    assert found.edges is not None and found.edges[1] > 1.2 * found.edges[0]
    assert found.iou.min() > 0.95 and "said before" in found.warnings
    assert (found.sigma > 0).all() and found.camera_sigma.all()


def test_what_was_given_stays(pictures, masks):
    known = start(camera_known=True)
    found = sharpen_video(ROBOT, known, masks, lambda: iter(pictures), TIMES)
    np.testing.assert_array_equal(found.camera.T_cam_base, CAMERA.T_cam_base)
    assert joint_error(found) < 0.5 * joint_error(known) and not found.camera_sigma.any()
    logged = start(joints_known=True)
    found = sharpen_video(ROBOT, logged, masks, lambda: iter(pictures), TIMES)
    np.testing.assert_array_equal(found.q, TRUE)
    assert place_error(found) < 0.5 * place_error(logged) and not found.sigma.any()


def test_frames_that_were_not_explained_stay_as_they_are(pictures, masks):
    fit = start()
    fit.valid[2] = False
    fit.q[4], fit.valid[4] = np.nan, False
    found = sharpen_video(ROBOT, fit, masks, lambda: iter(pictures), TIMES)
    np.testing.assert_array_equal(found.q[2], fit.q[2])
    assert np.isnan(found.q[4]).all() and not found.valid[[2, 4]].any() and not found.observable[[2, 4]].any()


def test_pictures_that_say_nothing_change_nothing(masks):
    fit, grey = start(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    found = sharpen_video(ROBOT, fit, masks, lambda: iter([grey] * FRAMES), TIMES)
    np.testing.assert_array_equal(found.q, fit.q)
    np.testing.assert_array_equal(found.camera.T_cam_base, fit.camera.T_cam_base)


def test_a_fit_that_sits_on_its_edges_stays(pictures, masks):
    true = replace(start(), q=TRUE.copy(), camera=CAMERA)
    found = sharpen_video(ROBOT, true, masks, lambda: iter(pictures), TIMES)
    np.testing.assert_array_equal(found.q, TRUE)
    assert found.edges is not None and found.edges[0] == found.edges[1] > 0.5


def test_masks_that_contradict_are_heeded(pictures, masks):
    """Pictures of a robot elsewhere: edges there would support it, but the masks are where they are."""
    moved = [np.roll(image, 6, axis=1) for image in pictures]
    true = replace(start(), q=TRUE.copy(), camera=CAMERA)
    found = sharpen_video(ROBOT, true, masks, lambda: iter(moved), TIMES)
    np.testing.assert_array_equal(found.q, true.q)


def test_pictures_of_another_size_are_refused(masks):
    with pytest.raises(FitError, match="160x120"):
        sharpen_video(ROBOT, start(), masks, lambda: iter([np.zeros((120, 160, 3), np.uint8)] * FRAMES), TIMES)
