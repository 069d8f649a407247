"""Frames on a wrong track are found again from their neighbours; frames that no joints explain are left alone."""

import cv2
import numpy as np
import pytest

from pose import Camera
from pose.kernel import make_model, see
from pose.mending import mend
from pose.start import look
from pose.targets import Targets, shrink
from pose.tracking import MIDDLE, PYRAMID, Frame, Tracker
from urdf import load_robot

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot):
    """Joints (6,n), a camera to the side, and silhouettes."""
    phase = np.linspace(0, 1, 6)[:, None]
    q = robot.clip(robot.rest + 0.2 * np.sin(2 * np.pi * (0.4 * phase + np.arange(len(robot.rest)) / 5)))
    R = look(np.array([0.7]), np.array([0.35]), np.array([0.0]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.2, 0, 0.35]) + [0, 0, 1.7]
    camera = Camera.from_focal(WIDTH, HEIGHT, 340.0, T)
    model = make_model(robot, robot.display_mesh)
    shown = [see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0] >= 0 for row in q]
    return q, camera, [{"robot": mask.astype(np.uint8) * 255} for mask in shown]


def tracked(robot, camera, masks, q):
    """Targets, a tracker, and the frames of a track that went along joints q (T,n)."""
    targets = Targets(masks, camera, robot)
    model = make_model(robot, labels=targets.labels)
    search = make_model(robot.with_mesh_faces(700), labels=targets.labels)
    views = tuple(targets.view(camera, level.width) for level in PYRAMID)
    free = np.ones(len(robot.rest), bool)
    limits = robot.lower, robot.upper
    tracker = Tracker((model,) * 3, search, targets.channels, views, PYRAMID, free, limits, robot.rest)
    frames = []
    for t, row in enumerate(q):
        middle = shrink(targets.read(t, PYRAMID[-1].width), MIDDLE)
        frames.append(Frame(row, tracker.overlap(row, middle), tracker.cost(row, middle)))
    return targets, tracker, frames


def test_frames_on_a_wrong_track_are_found_again(robot, clip):
    q, camera, masks = clip
    slipped = q.copy()
    slipped[:2, [0, 2, 4]] += [0.5, -0.6, 0.8]
    targets, tracker, frames = tracked(robot, camera, masks, slipped)
    out = mend(targets, tracker, frames, np.random.default_rng(0))
    assert all(a is b for a, b in zip(out[2:], frames[2:]))
    for t in (0, 1):
        frame = out[t]
        assert frame is not None
        assert frame.iou > 0.95 and np.abs(frame.q - q[t])[:4].max() < 0.15


def test_a_mask_that_no_joints_explain_is_left_alone(robot, clip):
    q, camera, masks = clip
    disc = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (60, 180), 45, 255, -1)
    spoiled = [*masks[:3], {"robot": disc}, *masks[4:]]
    targets, tracker, frames = tracked(robot, camera, spoiled, q)
    out = mend(targets, tracker, frames, np.random.default_rng(0))
    assert all(a is b for a, b in zip(out, frames))


def test_empty_clips_stay_empty(robot, clip):
    _, camera, masks = clip
    targets, tracker, _ = tracked(robot, camera, masks, [])
    assert mend(targets, tracker, [None, None], np.random.default_rng(0)) == [None, None]
