"""Damaged descriptions load, or end in a RobotError of one line; nothing else, and soon."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated
from toy_urdf import BOX, joint, link

from urdf import RobotError, catalogue, load_robot, sources

Load = Callable[[bytes], bool]
TOY = (
    '<?xml version="1.0"?><robot name="toy"><material name="red"><color rgba="1 0 0 1"/></material>'
    + link("l0")
    + link("l1", BOX.replace("<geometry>", '<origin xyz="0 0 1" rpy="0 1 0"/><material name="red"/><geometry>'))
    + link("l2", '<visual><geometry><mesh filename="package://pkg/box.stl" scale="1 1 -1"/></geometry></visual>')
    + link("left_finger", BOX)
    + link("right_finger", '<visual><geometry><cylinder radius="0.1" length="1"/></geometry></visual>')
    + joint("j0", "l0", "l1")
    + joint("j1", "l1", "l2", "continuous")
    + joint("j2", "l2", "left_finger", "prismatic")
    + joint("j3", "l2", "right_finger", "prismatic", '<mimic joint="j2" multiplier="-1" offset="0.1"/>')
    + "</robot>"
).encode()


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory, iiwa: bytes) -> Load:
    """Loads a text from a folder where every mesh that it may name is a small box; False when it is refused."""
    folder = tmp_path_factory.mktemp("fuzz") / "pkg"
    folder.mkdir()
    trimesh.creation.box().export(folder / "box.stl")
    for name in re.findall(rb'"package://\w+/([^"]+)"', iiwa):
        mesh = folder / name.decode()
        mesh.parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box().export(mesh)

    def attempt(text: bytes) -> bool:
        path = folder / "robot.urdf"
        path.write_bytes(text)
        start = time.process_time()
        try:
            robot = load_robot(path, packages={"kuka_lbr_iiwa_support": folder})
        except RobotError as error:
            assert "\n" not in str(error) and len(str(error)) < 2500
            return False
        finally:
            assert time.process_time() - start < 10
        assert np.isfinite(robot.link_poses(robot.rest)).all() and np.isfinite(robot.mesh.vertices).all()
        assert np.isfinite([robot.lower, robot.upper]).all() and (robot.lower <= robot.upper).all()
        return True

    return attempt


@pytest.fixture(scope="module")
def iiwa() -> bytes:
    entry = catalogue.entries()["iiwa14"]
    return (sources.folder(entry["source"]) / entry["file"]).read_bytes()


def test_the_undamaged_ones_load(load: Load, iiwa: bytes) -> None:
    assert load(TOY) and load(iiwa)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_a_toy(load: Load, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # overflows and the like
        load(mutated(TOY, seed))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_a_real_robot(load: Load, iiwa: bytes, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        load(mutated(iiwa, seed))
