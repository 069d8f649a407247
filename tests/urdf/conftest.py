"""Robots and small URDF files for the tests of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from urdf import Robot, load_robot


@pytest.fixture(scope="session")
def panda() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="session")
def kuka(shared: Path) -> Robot:
    return load_robot(shared / "data" / "kuka_lbr_med7" / "robot" / "lbr_med7.urdf")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a URDF into pkg/urdf/ of the test's folder and returns its path."""

    def urdf(*body: str, name: str = "robot.urdf") -> Path:
        path = tmp_path / "pkg" / "urdf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<robot name="toy">{"".join(body)}</robot>', encoding="utf-8")
        return path

    return urdf
