"""What a view cannot tell is said: round flanges, a base out of the picture, a hand turned by half a turn."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose import Camera, fit_video
from pose.fit import _describe
from pose.hypotheses import Hypothesis
from pose.kernel import make_model, see
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT, FRAMES = 320, 240, 4
BOX = '<origin xyz="0.1 0 0.15"/><geometry><box size="0.25 0.08 0.3"/></geometry>'
ROUND = '<geometry><cylinder radius="0.08" length="0.16"/></geometry>'
BAR = '<geometry><box size="0.3 0.06 0.16"/></geometry>'


def arm(folder: Path, flange: str) -> Robot:
    """Two bent links on a foot with corners, and a flange that turns about its own axis."""
    foot = '<origin xyz="0.1 0 0"/><geometry><box size="0.5 0.2 0.1"/></geometry>'
    parts = [f'<robot name="arm"><link name="base"><visual>{foot}</visual></link>']
    chain = (
        ("upper", "base", "0 0 0.1", "0 0 1", BOX), ("fore", "upper", "0 0.05 0.35", "0 1 0", BOX),
        ("flange", "fore", "0.1 0 0.38", "0 0 1", flange),
    )  # fmt: skip
    for i, (child, parent, place, axis, shape) in enumerate(chain):
        parts.append(
            f'<link name="{child}"><visual>{shape}</visual></link><joint name="j{i}" type="revolute">'
            f'<parent link="{parent}"/><child link="{child}"/><origin xyz="{place}"/><axis xyz="{axis}"/>'
            f'<limit lower="-3" upper="3" velocity="2" effort="1"/></joint>'
        )
    path = folder / "arm.urdf"
    path.write_text("".join([*parts, "</robot>"]))
    return load_robot(path)


def clip(robot: Robot) -> tuple[np.ndarray, Camera, list[np.ndarray]]:
    """Joints (T,3), camera, and silhouettes (H,W) bool."""
    phase = np.linspace(0, 1, FRAMES)[:, None]
    q = np.array([0.3, 0.5, 0.4]) + 0.3 * np.sin(2 * np.pi * (0.4 * phase + np.array([0, 0.3, 0.6])))
    R = look(np.array([0.7]), np.array([0.45]), np.array([0.0]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.1, 0, 0.4]) + [0, 0, 1.7]
    camera, model = Camera.from_focal(WIDTH, HEIGHT, 300.0, T), make_model(robot, robot.display_mesh)
    K = np.asarray(camera.K)
    return q, camera, [see(model, row, T, K, HEIGHT, WIDTH, 1)[0] >= 0 for row in q]


def as_masks(silhouettes: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{"robot": one.astype(np.uint8) * 255} for one in silhouettes]


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
