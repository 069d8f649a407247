"""What a view cannot tell is said: round flanges, a base out of the picture, a hand turned by half a turn."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose import Camera, fit_video
from pose.fit import _describe
from pose.hypotheses import Hypothesis
from pose.kernel import make_model, see
from tests.pose.tracked import BAR, HEIGHT, ROUND, WIDTH, arm, as_masks, clip


@pytest.mark.parametrize("flange, told", [(ROUND, False), (BAR, True)])
def test_a_round_flange_hides_the_last_joint(tmp_path: Path, flange: str, told: bool) -> None:
    robot = arm(tmp_path, flange)
    q, camera, silhouettes = clip(robot)
    fit = fit_video(robot, as_masks(silhouettes), camera=camera, q0=q[0], fps=10)
    assert fit.observable.mean(0).round().tolist() == [1, 1, told]
    assert np.rad2deg(np.abs(fit.q - q)[:, :2].max()) < 2
    assert any("j2 cannot be told" in w for w in fit.warnings) != told
    if told:
        assert np.rad2deg(np.median(np.abs(fit.q - q)[:, 2])) < 2


@pytest.mark.parametrize("cropped", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_first_joint_is_the_cameras_azimuth_without_the_base(tmp_path: Path, cropped: bool) -> None:
    """The start is right: what is said of the first joint's error does not depend on luck."""
    robot = arm(tmp_path, BAR)
    q, camera, silhouettes = clip(robot)
    model = make_model(robot)
    face_id = see(model, q[0], np.asarray(camera.T_cam_base), np.asarray(camera.K), HEIGHT, WIDTH, 1)[0]
    base = (face_id >= 0) & (model.vertex_link[model.faces[np.maximum(face_id, 0), 0]] == model.vertex_link[0])
    top = int(np.nonzero(base)[0].min()) if cropped else HEIGHT
    shown = Camera(WIDTH, top, camera.K, camera.T_cam_base)
    fit = fit_video(
        robot, as_masks([one[:top] for one in silhouettes]), camera=shown, q=q, solve=["camera", "joints"], fps=10
    )
    assert fit.observable[:, 0].any() != cropped
    assert fit.observable[:, 1].all()
    motion = fit.q[:, 0] - fit.q[0, 0] - (q[:, 0] - q[0, 0])
    assert np.rad2deg(np.abs(motion).max()) < 3  # its motion is told all the same
    if cropped:
        assert np.rad2deg(np.median(fit.sigma[:, 0])) > 10


def test_half_a_turn_of_the_hand_is_listed_if_the_masks_allow_it() -> None:
    q = np.zeros((2, 7))
    turned = q + np.pi * (np.arange(7) == 6)
    found = SimpleNamespace(iou=np.array([0.95, 0.95]), view=SimpleNamespace(T_cam_base=np.eye(4)), q=q)
    K = np.eye(3)
    twin = Hypothesis(K, np.eye(4), turned, np.array([0.94, 0.94]))
    same = Hypothesis(K, np.eye(4), q + 0.01, np.array([0.95, 0.95]))
    worse = Hypothesis(K, np.eye(4), q + 1.0, np.array([0.8, 0.8]))
    listed = _describe([worse, same, twin], found)  # type: ignore[arg-type]
    assert [one["q"] for one in listed] == [turned[0].tolist()]
    assert listed[0]["iou"] == 0.94 and listed[0]["camera_turned_deg"] == 0
