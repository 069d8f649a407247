"""What stands before the robot is found by what masks never show; whole clips and thin offsets are not taken for it."""

import cv2
import numpy as np
import pytest

from pose import Camera, fit_video
from pose.hidden import hidden_pixels, without
from pose.tracking import PYRAMID, Frame
from tests.pose.tracked import HEIGHT, WIDTH, as_masks, seen, tracked
from urdf import load_robot

FRAMES = 12
PIVOT = np.zeros(3)


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot):
    """Joints (T,n), a camera to the side, and (T,H,W) silhouettes."""
    phase = np.linspace(0, 1, FRAMES)[:, None]
    q = robot.clip(robot.rest + 0.3 * np.sin(2 * np.pi * (phase + np.arange(len(robot.rest)) / 5)))
    camera, silhouettes = seen(robot, q, 0.35, 340.0, (0.2, 0, 0.35))
    return q, camera, np.stack(silhouettes)


def thing(masks):
    """An ellipse (H,W) on what the robot covers most often, as large as a sixth of it."""
    often = cv2.GaussianBlur(masks.mean(0).astype(np.float32), (0, 0), 8)
    y, x = np.unravel_index(often.argmax(), often.shape)
    size = round(np.sqrt(masks[0].sum() / 6 / np.pi))
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (int(x), int(y)), size, 1, -1).astype(bool)


def fine(image, shape):
    return cv2.resize(image.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0.5


def test_a_thing_before_the_robot_is_found(robot, clip):
    q, camera, masks = clip
    blob = thing(masks)
    hidden = hidden_pixels(*tracked(robot, camera, q, masks & ~blob))
    assert hidden is not None
    blob, shown = fine(blob, hidden.shape), fine((masks & ~blob).any(0), hidden.shape)
    covered = blob & fine(masks.mean(0) > 0.2, hidden.shape)
    assert (hidden & covered).sum() > 0.95 * covered.sum()
    # no more of what masks do show than a rim about it
    rim = cv2.dilate(blob.astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert not (hidden & shown & ~rim).any()


def test_whole_clips_hide_nothing(robot, clip):
    q, camera, masks = clip
    assert hidden_pixels(*tracked(robot, camera, q, masks)) is None


def test_outlines_that_are_a_little_off_hide_nothing(robot, clip):
    q, camera, masks = clip
    thin = np.stack([cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) for mask in masks]).astype(bool)
    assert hidden_pixels(*tracked(robot, camera, q, thin)) is None


def test_a_thing_in_few_frames_hides_nothing(robot, clip):
    q, camera, masks = clip
    passing = masks.copy()
    passing[:2] &= ~thing(masks)
    assert hidden_pixels(*tracked(robot, camera, q, passing)) is None


def test_a_fit_that_is_wrong_all_over_hides_nothing(robot, clip):
    q, camera, masks = clip
    assert hidden_pixels(*tracked(robot, camera, q, np.roll(masks, 140, 2))) is None


def test_too_few_frames_tell_nothing(robot, clip):
    q, camera, masks = clip
    targets, tracker, frames = tracked(robot, camera, q[:2], (masks & ~thing(masks))[:2])
    assert hidden_pixels(targets, tracker, frames) is None
    assert hidden_pixels(targets, tracker, [None, None]) is None


def test_what_is_hidden_costs_nothing(robot, clip):
    q, camera, masks = clip
    blob = thing(masks)
    targets, tracker, frames = tracked(robot, camera, q, masks & ~blob)
    hidden = hidden_pixels(targets, tracker, frames)
    target = targets.read(0, PYRAMID[-1].width)
    before, after = tracker.information(q[0], target, PIVOT), without(tracker, hidden).information(q[0], target, PIVOT)
    assert after.cost < 0.2 * before.cost
    assert after.iou == before.iou  # a statement about the whole mask
    assert isinstance(after, Frame)


def test_the_fit_says_so_and_is_not_bent_round_it(robot, clip):
    q, camera, masks = (part if isinstance(part, Camera) else part[::2] for part in clip)
    blob = thing(masks)
    fit = fit_video(robot, as_masks(masks & ~blob), camera=camera)
    assert any("stands still before the robot" in text for text in fit.warnings)
    arm = robot.arm_joints
    error = np.rad2deg(np.abs(fit.q - q)[:, arm])
    assert np.median(error[fit.observable[:, arm]]) < 1.5
