"""A robot that is small in the picture is looked at closely: what part, which camera, and what comes of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose import Camera, fit_video
from pose.kernel import make_model, see
from pose.solver import Level
from pose.start import look
from pose.targets import SMALLEST, Targets, close_up
from tests.pose.tracked import HOOK, arm, as_masks, clip

WIDTH, HEIGHT = 640, 480


def masks_of(*boxes):
    """A frame for each box (x0, y0, x1, y1) that is filled."""
    out = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[y0:y1, x0:x1] = True
        out.append(mask)
    return as_masks(out)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 560), st.integers(0, 400), st.integers(12, 80), st.integers(12, 80))
def test_the_part_holds_the_robot_and_lies_in_the_picture(x, y, w, h):
    masks = masks_of((x, y, x + w, y + h), (x + w // 3, y, x + w, y + h))
    part = close_up(masks, (HEIGHT, WIDTH))
    assert part is not None
    x0, y0, width, height = part
    assert 0 <= x0 <= x and 0 <= y0 <= y
    assert x0 + width >= min(WIDTH, x + w) and y0 + height >= min(HEIGHT, y + h)
    assert x0 + width <= WIDTH and y0 + height <= HEIGHT
    assert max(width, height) >= SMALLEST // 2  # a corner of the picture cuts the part


def test_large_robots_and_empty_masks_are_looked_at_whole():
    assert close_up(masks_of((100, 100, 400, 400)), (HEIGHT, WIDTH)) is None
    assert close_up(masks_of((0, 0, 0, 0)), (HEIGHT, WIDTH)) is None
    apart = masks_of((0, 0, 60, 60), (560, 400, 640, 480))  # small in every frame, but all over the place
    assert close_up(apart, (HEIGHT, WIDTH)) is None


def test_specks_do_not_count():
    masks = masks_of((300, 200, 360, 260))
    masks[0]["robot"][5, 5] = 255
    part = close_up(masks, (HEIGHT, WIDTH))
    assert part is not None and part[0] > 100


def test_what_is_read_is_the_part_and_its_camera_sees_it_there():
    masks = masks_of((300, 200, 360, 260))
    camera = Camera.from_focal(WIDTH, HEIGHT, 500.0, np.eye(4))
    targets = Targets(masks, camera, close=True)
    x0, y0 = targets.corner
    read = targets.read(0, 400)
    assert read.shape[1:] == (targets.height, targets.width)  # no more pixels than there are
    ys, xs = np.nonzero(read[0])
    assert (xs.min() + x0, ys.min() + y0, xs.max() + x0, ys.max() + y0) == (300, 200, 359, 259)
    point = np.array([0.05, -0.02, 2.0])
    inner = targets.inner(camera)
    np.testing.assert_allclose(inner.project(point), camera.project(point) - [x0, y0])
    back = targets.outer(inner)
    assert (back.width, back.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(back.K, camera.K)
    level = targets.level(Level(400, 1.5))
    assert level.width == max(targets.width, targets.height)
    assert level.zoom * level.width == pytest.approx(WIDTH)  # a pixel of noise is a pixel of the whole picture's


def test_distorted_pictures_are_looked_at_whole():
    camera = replace(Camera.from_focal(WIDTH, HEIGHT, 500.0, np.eye(4)), distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    targets = Targets(masks_of((300, 200, 360, 260)), camera, close=True)
    assert targets.corner == (0, 0) and targets.zoom == 1


def test_a_small_robot_beside_the_middle_is_fitted(tmp_path):
    robot = arm(tmp_path, HOOK)
    q = clip(robot)[0]
    R = look(np.array([0.7]), np.array([0.45]), np.array([0.0]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.1, 0, 0.4]) + [0.6, -0.4, 3.4]
    camera, model = Camera.from_focal(WIDTH, HEIGHT, 500.0, T), make_model(robot, robot.display_mesh)
    K = np.asarray(camera.K)
    silhouettes = [see(model, row, T, K, HEIGHT, WIDTH, 1)[0] >= 0 for row in q]
    assert close_up(as_masks(silhouettes), (HEIGHT, WIDTH)) is not None
    fit = fit_video(robot, as_masks(silhouettes), camera=camera, q0=q[0], fps=10)
    assert np.rad2deg(np.abs(fit.q - q).max()) < 2.5
    assert (fit.camera.width, fit.camera.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(fit.camera.K, K)
    free = fit_video(robot, as_masks(silhouettes), camera=replace(camera, T_cam_base=None), q=q, fps=10)
    off = np.linalg.inv(free.camera.T_cam_base)[:3, 3] - np.linalg.inv(T)[:3, 3]
    assert np.linalg.norm(off) < 0.08
    np.testing.assert_allclose(free.camera.K, K)
    assert np.median(free.iou) > 0.93
