"""Paint, gloss, bands and tape: how a robot may look."""

from __future__ import annotations

import numpy as np

from pose.shading import Look
from urdf import Robot

PAINTS = np.array(
    [
        (0.93, 0.93, 0.93),
        (0.8, 0.8, 0.8),
        (0.55, 0.56, 0.58),
        (0.25, 0.25, 0.26),
        (0.06, 0.06, 0.06),
        (0.9, 0.4, 0.05),
    ]
)
GREYS = 4  # of the paints


def random_look(rng: np.random.Generator, robot: Robot, own: float = 0.0) -> Look:
    """The description's own colours (half of the time), one colour, two by link; bands; dark or metal grippers.

    own: share for which the own colours are certain; of the others it remains half.
    """
    mesh = robot.mesh
    color = mesh.face_color.copy()
    gripper = np.array([p == "gripper" for p in robot.link_parts])[mesh.face_link]
    draw = 0.25 if own > 0 and rng.random() < own else rng.random()
    if draw < 0.5:
        plain = np.ptp(color.reshape(-1, 3), axis=0).max() < 0.05  # no colours given: paint it
        color = np.tile(PAINTS[rng.integers(GREYS)], (len(color), 1)) if plain else color * rng.uniform(0.85, 1.1)
    else:
        usual = PAINTS[rng.choice(len(PAINTS), p=[0.35, 0.2, 0.15, 0.1, 0.1, 0.1])]
        color[:] = usual if rng.random() < 0.85 else rng.uniform(0, 1, 3)
        if draw > 0.75:
            links = rng.random(len(robot.link_names)) < 0.35
            color[links[mesh.face_link]] = PAINTS[rng.integers(len(PAINTS))]
    if rng.random() < 0.4:
        _bands(rng, robot, color)
    rough, metal = np.full(len(color), rng.uniform(0.12, 0.75)), np.zeros(len(color))
    kind = rng.random()
    if kind < 0.35:
        color[gripper], rough[gripper] = rng.uniform(0.02, 0.25), rng.uniform(0.3, 0.8)
    elif kind < 0.5:
        color[gripper], metal[gripper], rough[gripper] = rng.uniform(0.4, 0.8), 0.9, rng.uniform(0.2, 0.5)
    elif kind < 0.6:
        color[gripper] = rng.uniform(0.6, 0.95)
    color = color * (1 + rng.normal(0, 0.03, 3))
    return Look(np.clip(color, 0, 1), rough, metal)


def _bands(rng: np.random.Generator, robot: Robot, color: np.ndarray) -> None:
    """Covers, bands and tape across some links, painted into `color` (F,3)."""
    mesh = robot.mesh
    center = mesh.vertices[mesh.faces].mean(1)
    for link in range(len(robot.link_names)):
        mine = np.flatnonzero(mesh.face_link == link)
        if rng.random() > 0.35 or len(mine) == 0:
            continue
        axis = rng.standard_normal(3) if rng.random() < 0.4 else np.eye(3)[rng.integers(3)]
        s = center[mine] @ axis
        low = rng.uniform(s.min(), s.max() + 1e-9)
        band = (s > low) & (s < low + np.ptp(s) * rng.uniform(0.05, 0.4))
        color[mine[band]] = PAINTS[rng.integers(len(PAINTS))] if rng.random() < 0.8 else rng.uniform(0, 1, 3)
