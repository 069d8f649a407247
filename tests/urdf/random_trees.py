"""Random robots as URDF text, loaded through the ordinary path."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from urdf import Robot, load_robot


def random_urdf(seed: int, links: int) -> str:
    """A random tree: link 0 is the root; files list joints in random order."""
    rng = np.random.default_rng(seed)
    names = [f"l{i}" for i in range(links)]
    body = [f'<link name="{n}"><visual><geometry><box size="0.1 0.1 0.1"/></geometry></visual></link>' for n in names]
    rng.shuffle(body)
    joints: list[str] = []
    moving: list[str] = []
    for i in range(1, links):
        kind = str(rng.choice(["fixed", "revolute", "continuous", "prismatic"]))
        xyz, rpy, axis = rng.uniform(-1, 1, 3), rng.uniform(-3.2, 3.2, 3), rng.normal(size=3)
        if rng.random() < 0.3:
            axis = np.eye(3)[rng.integers(3)] * rng.choice([-1.0, 2.0])
        mimic = ""
        if kind != "fixed":
            if moving and rng.random() < 0.4:
                multiplier, offset = rng.uniform(-2, 2, 2)
                mimic = f'<mimic joint="{rng.choice(moving)}" multiplier="{multiplier}" offset="{offset}"/>'
            moving.append(f"j{i}")
        low, high = np.sort(rng.uniform(-2, 2, 2))
        joints.append(
            f'<joint name="j{i}" type="{kind}"><parent link="l{rng.integers(i)}"/><child link="l{i}"/>'
            f'<origin xyz="{_row(xyz)}" rpy="{_row(rpy)}"/><axis xyz="{_row(axis)}"/>'
            f'<limit lower="{low}" upper="{high}" velocity="1" effort="1"/>{mimic}</joint>'
        )
    rng.shuffle(joints)
    return f'<robot name="random">{"".join(body)}{"".join(joints)}</robot>'


def _row(values: np.ndarray) -> str:
    return " ".join(repr(float(v)) for v in values)


def random_robot(seed: int, links: int) -> Robot:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.urdf"
        path.write_text(random_urdf(seed, links))
        return load_robot(path)
