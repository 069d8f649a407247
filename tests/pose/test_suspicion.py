"""Wrong input is named in one line, right input is not."""

from __future__ import annotations

import numpy as np
import pytest

from pose import Camera, fit_video, suspicion
from pose.kernel import make_model, see
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot: Robot):
    phase = np.linspace(0, 1, 5)[:, None]
    q = robot.clip(robot.rest + 0.4 * np.sin(2 * np.pi * (0.6 * phase + np.linspace(0, 1, 8))))
    T = np.eye(4)
    T[:3, :3] = look(np.array([0.8]), np.array([0.35]), np.array([0.0]))[0]
    T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.35]) + [0, 0, 1.5]
    camera = Camera.from_focal(WIDTH, HEIGHT, 280.0, T)
    model = make_model(robot, robot.display_mesh)
    masks = []
    for row in q:
        seen = see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0] >= 0
        masks.append({"robot": seen.astype(np.uint8) * 255})
    return q, camera, masks


def unposed(camera: Camera, factor: float = 1.0) -> Camera:
    return Camera.from_focal(WIDTH, HEIGHT, camera.focal * factor)


def test_good_input_is_not_suspected(robot: Robot, clip) -> None:
    q, camera, masks = clip
    assert fit_video(robot, masks, camera=camera, q=q).warnings == ()
    assert fit_video(robot, masks, camera=unposed(camera), q=q).warnings == ()


def test_swapped_columns_are_named(robot: Robot, clip) -> None:
    q, camera, masks = clip
    wrong = q.copy()
    wrong[:, [0, 2]] = q[:, [2, 0]]
    said = " ".join(fit_video(robot, masks, camera=camera, q=wrong).warnings)
    assert "panda_joint1 = column of panda_joint3, panda_joint3 = column of panda_joint1" in said


def test_a_wrong_focal_length_is_named(robot: Robot, clip) -> None:
    q, camera, masks = clip
    said = fit_video(robot, masks, camera=unposed(camera, 1.4), q=q).warnings
    assert any("K does not fit the masks" in line and "392 pixels" in line for line in said)


def test_an_upside_down_video_is_named(robot: Robot, clip) -> None:
    q, camera, masks = clip
    turned = [{"robot": np.ascontiguousarray(m["robot"][::-1, ::-1])} for m in masks]
    said = fit_video(robot, turned, camera=unposed(camera), q=q).warnings
    assert any("upside down" in line for line in said)
    assert suspicion.upside_down(np.asarray(camera.T_cam_base)) == []
    above = np.diag([1.0, -1.0, -1.0, 1.0])  # looks down along the base's axis: no side is up
    assert suspicion.upside_down(above) == []


def test_joints_that_cannot_be_radians_or_this_robots(robot: Robot, clip) -> None:
    q = clip[0]
    free = np.zeros(8, bool)
    assert suspicion.joints(robot, q, free) == []
    assert "degrees" in suspicion.joints(robot, np.rad2deg(q), free)[0]
    assert "panda_joint4" in suspicion.joints(robot, -q, free)[0]
    gap = q.copy()
    gap[1, 4] = np.nan
    free[4] = True
    assert "panda_joint5 holds NaN in 1 of 5 rows" in suspicion.joints(robot, gap, free)[0]
    gap[:, 4] = np.nan  # a joint that is not given at all is no mistake
    assert suspicion.joints(robot, gap, free) == []
    first = np.full_like(q, np.nan)
    first[0] = q[0]
    assert suspicion.joints(robot, first, ~free, known=(0,)) == []  # given as the first frame's
    assert "holds NaN" in suspicion.joints(robot, first, ~free)[0]


def test_masks_that_nothing_explains_are_said(robot: Robot, clip) -> None:
    _, camera, masks = clip
    disc = np.zeros((HEIGHT, WIDTH), np.uint8)
    disc[60:180, 100:220] = 255
    said = fit_video(robot, [{"robot": disc}] * len(masks), camera=unposed(camera), q=clip[0]).warnings
    assert any("median IoU" in line for line in said)
