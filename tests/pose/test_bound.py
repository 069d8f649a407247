"""The Cramer-Rao bound against what is known of it: scaling with the noise, and a disc whose bound has a formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pose import Camera, FitError
from pose.bound import PIXEL, bound
from pose.start import look
from urdf import Robot, load_robot


def camera(focal: float = 600.0, distance: float = 1.8) -> Camera:
    T = np.eye(4)
    T[:3, :3] = look(np.array([0.8]), np.array([0.35]), np.array([0.0]))[0]
    T[:3, 3] = T[:3, :3] @ -np.array([0.2, 0, 0.35]) + [0, 0, distance]
    return Camera.from_focal(640, 480, focal, T)


@pytest.fixture(scope="module")
def panda() -> Robot:
    return load_robot("panda")


def test_of_the_panda(panda: Robot) -> None:
    """Of the size of the table in the project's notes: tenths of a degree, more for what is unknown besides."""
    q = panda.clip(panda.rest + 0.2 * np.sin(np.arange(3)[:, None] + np.arange(8)))
    known = bound(panda, q, camera(), unknown=("joints", "gripper"))
    free = bound(panda, q, camera())
    assert (np.rad2deg(known.q[:, :7]) > 0.02).all() and (np.rad2deg(known.q[:, :7]) < 3).all()
    assert not known.camera.any() and known.focal == 0
    assert (free.q >= known.q * (1 - 1e-9)).all() and (free.camera > 0).all() and 0 < free.focal < 60
    joints = ("joints", "gripper")
    rough, louder = (bound(panda, q, camera(), unknown=joints, sigma=s, exponent=1.0) for s in (1.0, 2.0))
    assert (rough.q[:, :7] > known.q[:, :7]).all()
    ratio = louder.q[:, :7] / rough.q[:, :7]
    assert 1.4 < np.median(ratio) <= 2.0 and ratio.max() <= 2.0
    more = bound(panda, np.tile(q, (4, 1)), camera())
    np.testing.assert_allclose(more.camera[3:5], free.camera[3:5] / 2, rtol=0.25)  # four times the frames, half of it


def test_of_a_ball_on_a_rail(tmp_path: Path) -> None:
    """A ball of R pixels that slides across the picture: information is the integral of cos^2 over its outline."""
    link = '<link name="{}"><visual><geometry><sphere radius="{}"/></geometry></visual></link>'
    (tmp_path / "rail.urdf").write_text(
        f'<robot name="rail">{link.format("base", 0.001)}{link.format("ball", 0.1)}'
        '<joint name="slide" type="prismatic"><parent link="base"/><child link="ball"/><axis xyz="1 0 0"/>'
        '<limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>'
    )
    robot = load_robot(tmp_path / "rail.urdf")
    T = np.eye(4)
    T[2, 3] = 2.0
    view = Camera.from_focal(640, 480, 1000.0, T)
    # errors of neighbouring pixels unlike: variances add up along the outline
    found = bound(
        robot, np.zeros((1, 1)), view, unknown=("joints",), parts=("robot",), sigma=0.02, correlation=0.1, offset=0
    )
    radius, metre = 50.0, 500.0
    expected = np.sqrt(PIXEL / (np.pi * radius)) / metre
    assert found.q[0, 0] == pytest.approx(expected, rel=0.1)


def test_bad_arguments_are_named(panda: Robot) -> None:
    with pytest.raises(FitError, match="8 joints"):
        bound(panda, np.zeros((1, 3)), camera())
    with pytest.raises(FitError, match="T_cam_base"):
        bound(panda, panda.rest, Camera.from_focal(64, 48, 50.0))
    with pytest.raises(FitError, match="one or two of"):
        bound(panda, panda.rest, camera(), parts=("leg",))
    with pytest.raises(FitError, match="positive"):
        bound(panda, panda.rest, camera(), sigma=0)
