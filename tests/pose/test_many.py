"""Guesses looked at with torch: the same overlaps as the compiled code's."""

import numpy as np
import pytest
import torch

from pose import kernel, many
from pose.kernel import make_model
from pose.start import look
from urdf import load_robot

WIDTH, HEIGHT, COUNT = 60, 44, 24
CHANNELS = np.array([[1.0, 1.0], [0.0, 1.0]])


def guesses(robot, model, count=COUNT):
    """Joints, poses (some so near that the camera is within the arm), intrinsics, masks and which is whose."""
    rng = np.random.default_rng(0)
    q = rng.uniform(robot.lower, robot.upper, (count, len(robot.rest)))
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = look(rng.uniform(-3, 3, count), rng.uniform(-0.2, 1.3, count), rng.normal(0, 0.2, count))
    T[:, :3, 3] = np.column_stack([rng.normal(0, 0.2, (count, 2)), rng.uniform(0.2, 2.5, count)])
    K = np.tile(np.array([[60.0, 0, 29.5], [0, 60.0, 21.5], [0, 0, 1]]), (count, 1, 1))
    seen = [kernel.see(model, *one, HEIGHT, WIDTH, 1)[0] for one in zip(q[:8], T[:8], K[:8])]
    targets = np.stack([kernel.coverage(one, model.face_part, CHANNELS, 1) for one in seen])
    return q, T, K, targets, np.arange(count) % len(targets)


@pytest.mark.parametrize("name", ["panda", "ur5e_robotiq"])
def test_the_overlaps_are_those_of_the_compiled_code(name, monkeypatch):
    robot = load_robot(name)
    model = make_model(robot.with_mesh_faces(700))
    at = guesses(robot, model)
    expected = kernel.overlaps(model, *at, CHANNELS)
    assert expected[:, 0].max() > 0.99 and (expected[:, 1] > 0).any()
    for triangles in (many.AT_ONCE, 5 * len(model.faces)):  # all at once, and five guesses at a time
        monkeypatch.setattr(many, "AT_ONCE", triangles)
        assert many.overlaps_on("cpu", model, *at, CHANNELS) == pytest.approx(expected, abs=2e-3)


def test_links_are_where_the_compiled_code_has_them():
    robot = load_robot("ur5e_robotiq")  # joints that follow others
    model = make_model(robot)
    q, T, *_ = guesses(robot, model, 5)
    out = many.link_poses(model, torch.as_tensor(q), torch.as_tensor(T)).numpy()
    assert out == pytest.approx(np.stack([kernel.link_poses(model, *one)[0] for one in zip(q, T)]), abs=1e-9)


def test_a_robot_behind_the_camera_covers_nothing():
    robot = load_robot("panda")
    model = make_model(robot.with_mesh_faces(700))
    q, T, K, targets, frame = guesses(robot, model, 4)
    T[:, 2, 3] = -5.0
    assert not many.overlaps_on("cpu", model, q, T, K, targets, frame, CHANNELS).any()


def test_a_gpu_is_used_where_torch_has_one(monkeypatch):
    robot = load_robot("panda")
    model = make_model(robot.with_mesh_faces(700))
    at = guesses(robot, model, 4)
    asked = []
    monkeypatch.setattr(many, "overlaps_on", lambda device, *rest: asked.append(device))
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        many.overlaps(model, *at, CHANNELS)
    assert asked == ["cuda"]
