"""Pixels of the robot: the mask, the drawn model, and a margin around both."""

import numpy as np
import pytest
import torch
from view_cases import look_at

from pose import Camera, render_silhouette
from twin.carve import robot_pixels
from twin.errors import TwinError
from urdf import load_robot


@pytest.fixture(scope="module")
def panda():
    return load_robot("panda")


CAMERA = Camera.from_focal(128, 96, 110, look_at((1.6, 0.4, 0.8), (0, 0, 0.4)))
Q = np.array([0.1, -0.4, 0.2, -2.0, 0.1, 1.8, 0.8, 0.03])


def test_model_and_mask_are_united(panda):
    """All of the drawn robot, all of the mask, and nothing far from both."""
    drawn = render_silhouette(panda, torch.tensor(Q, dtype=torch.float32), CAMERA).robot.numpy() > 0.5
    assert drawn.sum() > 300
    mask = np.zeros((96, 128), np.uint8)
    mask[5:9, 100:110] = 255  # a cable that the model has not
    both = robot_pixels(panda, Q, CAMERA, mask, margin_px=3)
    assert both[drawn].all() and both[5:9, 100:110].all() and both[2, 105] and not both[0, 105]
    assert both.sum() < 1.8 * drawn.sum() + 200
    bare = robot_pixels(panda, Q, CAMERA, margin_px=0)
    assert (bare != drawn).mean() < 0.01


def test_what_is_unknown_leaves_the_mask(panda):
    mask = np.zeros((96, 128), bool)
    mask[40:50, 40:50] = True
    for robot, q, camera in [
        (None, Q, CAMERA),
        (panda, None, CAMERA),
        (panda, np.full(8, np.nan), CAMERA),
        (panda, Q, Camera.from_focal(128, 96, 110)),
    ]:
        assert (robot_pixels(robot, q, camera, mask, margin_px=0) == mask).all()


def test_other_sizes_are_refused(panda):
    with pytest.raises(TwinError, match="expected 8 joints"):
        robot_pixels(panda, Q[:7], CAMERA)
    with pytest.raises(TwinError, match="mask has shape"):
        robot_pixels(None, None, CAMERA, np.zeros((5, 5)))
