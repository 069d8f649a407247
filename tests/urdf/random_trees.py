"""Random robots as URDF text, loaded through the ordinary path."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from urdf import Robot, load_robot

KINDS = ("fixed", "revolute", "continuous", "prismatic")


def random_urdf(seed: int, links: int) -> str:
    """A random tree: chains, stars and what lies between; files list joints in random order.

    Joints mimic others of any kind, mimic joints too, wherever they hang, forwards and backwards; axes are long,
    short, negative or along x, y, z.
    """
    rng = np.random.default_rng(seed)
    names = [f"l{i}" for i in range(links)]
    body = [f'<link name="{n}"><visual><geometry><box size="0.1 0.1 0.1"/></geometry></visual></link>' for n in names]
    rng.shuffle(body)
    straight, shares = rng.random(), rng.dirichlet([0.5] * 4)
    kinds = ["fixed", *rng.choice(KINDS, links - 1, p=shares)] if links > 1 else ["fixed"]
    moving = [i for i in range(links) if kinds[i] != "fixed"]
    leaders = list(moving)
    rng.shuffle(leaders)
    joints: list[str] = []
    for i in range(1, links):
        kind = kinds[i]
        xyz, rpy, axis = rng.uniform(-1, 1, 3), rng.uniform(-3.2, 3.2, 3), rng.normal(size=3)
        if rng.random() < 0.3:
            axis = np.eye(3)[rng.integers(3)] * rng.choice([-1.0, 2.0, 1e-3, -1e3])
        mimic = ""
        before = leaders[: leaders.index(i)] if kind != "fixed" else []
        if before and rng.random() < 0.4:
            multiplier, offset = rng.choice([-1.0, 1.0, rng.uniform(-2, 2)]), rng.choice([0.0, rng.uniform(-2, 2)])
            mimic = f'<mimic joint="j{rng.choice(before)}" multiplier="{multiplier}" offset="{offset}"/>'
        low, high = np.sort(rng.uniform(-2, 2, 2))
        limit = f'<limit lower="{low}" upper="{high}" velocity="1" effort="1"/>'
        parent = i - 1 if rng.random() < straight else rng.integers(i)
        joints.append(
            f'<joint name="j{i}" type="{kind}"><parent link="l{parent}"/><child link="l{i}"/>'
            f'<origin xyz="{_row(xyz)}" rpy="{_row(rpy)}"/><axis xyz="{_row(axis)}"/>'
            f"{limit if rng.random() < 0.9 else ''}{mimic}</joint>"
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
