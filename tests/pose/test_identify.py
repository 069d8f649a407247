"""Finding out the robot: on rendered masks of the Panda against itself and another arm."""

import numpy as np
import pytest

import pose.identify
from pose import Camera, FitError
from pose.identify import Candidate, Ranking, identify
from pose.kernel import make_model, see
from pose.start import look
from urdf import RobotError, load_robot

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def masks():
    """Three frames of a Panda."""
    robot = load_robot("panda")
    R = look(np.array([0.9]), np.array([0.4]), np.array([0.03]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.25, 0, 0.35]) + [0, 0, 1.6]
    camera = Camera.from_focal(WIDTH, HEIGHT, 300.0, T)
    model = make_model(robot)
    out = []
    for t in (0.0, 0.5, 1.0):
        q = robot.clip(robot.rest + 0.3 * np.sin(2 * np.pi * (0.3 * t + np.linspace(0, 1, 8))))
        face_id, _, _ = see(model, q, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)
        part = np.where(face_id >= 0, model.face_part[face_id], -1)
        out.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
    return out


def lacking():
    raise RobotError("its files are not here")


def test_the_right_robot_comes_first_and_twins_are_called_tied(masks, monkeypatch):
    for name, value in {"GUESSES": 1000, "KEPT": 5, "EXTENDED": 1}.items():  # an easy clip
        monkeypatch.setattr(pose.identify, name, value)
    robot = load_robot("panda")
    said = []
    robots = {
        "iiwa14": lambda: load_robot("iiwa14"), "panda": lambda: robot, "twin": lambda: robot, "lost": lacking
    }  # fmt: skip
    ranking = identify(masks, robots, progress=lambda *what: said.append(what))
    assert [c.name for c in ranking.candidates][2:] == ["iiwa14"]
    assert set(ranking.tied) == {"panda", "twin"} and ranking.margin < 0.2 and not ranking.confident
    assert ranking.explained and ranking.best.iou > 0.9
    assert sum(c.probability for c in ranking.candidates) == pytest.approx(1)
    assert ranking.skipped == {"lost": "its files are not here"}
    (warning,) = ranking.warnings()
    assert "panda" in warning and "twin" in warning and "iiwa14" not in warning
    assert {"identify: search", "identify: refine"} <= {stage for stage, _, _ in said}


def test_nothing_to_choose_from_is_said(masks):
    with pytest.raises(FitError, match="no robot to choose from: lost: its files are not here"):
        identify(masks, {"lost": lacking})
    with pytest.raises(FitError, match="no robot to choose from"):
        identify(masks, {})


@pytest.mark.parametrize("pixels, message", [(0, "no frame's mask shows a robot"), (10, "too small in the picture")])
def test_masks_that_show_next_to_nothing_are_refused(pixels, message):
    mask = np.zeros((1200, 1600), np.uint8)
    mask[np.linspace(0, 1199, 10).astype(int)[:, None], np.arange(100)] = 255 * (pixels > 0)
    with pytest.raises(FitError, match=message):
        identify([{"robot": mask}], ["panda"])


def test_a_poor_best_robot_is_not_trusted():
    poor = Ranking((Candidate("panda", 0.5, 1.0, "refined", 1.0),), {}, ("panda",), 1.0, (0,), 1.0)
    assert not poor.explained and not poor.confident
    assert "panda" in poor.warnings()[0] and "0.50" in poor.warnings()[0]
