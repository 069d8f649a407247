"""Frames on a wrong track are found again from their neighbours; frames that no joints explain are left alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pose.kernel import make_model
from pose.mending import mend
from pose.targets import shrink
from pose.tracking import MIDDLE, PYRAMID, Frame
from tests.pose.tracked import HEIGHT, WIDTH, seen, tracked
from urdf import load_robot


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot):
    """Joints (6,n), a camera to the side, and silhouettes."""
    phase = np.linspace(0, 1, 6)[:, None]
    q = robot.clip(robot.rest + 0.2 * np.sin(2 * np.pi * (0.4 * phase + np.arange(len(robot.rest)) / 5)))
    return q, *seen(robot, q, 0.35, 340.0, (0.2, 0, 0.35))


def followed(robot, camera, q, silhouettes):
    """Targets, a tracker, and the frames of a track that went along joints q (T,n) on the middle level."""
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    tracker = replace(tracker, search_model=make_model(robot.with_mesh_faces(700), labels=targets.labels))
    frames = []
    for t, row in enumerate(q):
        middle = shrink(targets.read(t, PYRAMID[-1].width), MIDDLE)
        frames.append(Frame(row, tracker.overlap(row, middle), tracker.cost(row, middle)))
    return targets, tracker, frames


def test_frames_on_a_wrong_track_are_found_again(robot, clip):
    q, camera, masks = clip
    slipped = q.copy()
    slipped[:2, [0, 2, 4]] += [0.5, -0.6, 0.8]
    targets, tracker, frames = followed(robot, camera, slipped, masks)
    out = mend(targets, tracker, frames, np.random.default_rng(0))
    assert all(a is b for a, b in zip(out[2:], frames[2:]))
    for t in (0, 1):
        frame = out[t]
        assert frame is not None
        assert frame.iou > 0.95 and np.abs(frame.q - q[t])[:4].max() < 0.15


def test_a_mask_that_no_joints_explain_is_left_alone(robot, clip):
    q, camera, masks = clip
    disc = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (60, 180), 45, 1, -1)
    spoiled = [*masks[:3], disc, *masks[4:]]
    targets, tracker, frames = followed(robot, camera, q, spoiled)
    out = mend(targets, tracker, frames, np.random.default_rng(0))
    assert all(a is b for a, b in zip(out, frames))


def test_empty_clips_stay_empty(robot, clip):
    _, camera, masks = clip
    targets, tracker, _ = tracked(robot, camera, [], masks)
    assert mend(targets, tracker, [None, None], np.random.default_rng(0)) == [None, None]
