"""Tables and rooms around the robot."""

from __future__ import annotations

import numpy as np

from pose.props import box, grid
from pose.shading import Prop
from segmentation.training.assets import Assets
from segmentation.training.things import random_material

BELOW = 0.002  # metres between the robot's base and the table top


def random_surroundings(rng: np.random.Generator, assets: Assets, away: np.ndarray, closed: bool = False) -> list[Prop]:
    """Nothing (the backdrop does), a table, or a table in a room.

    away: (3,) direction the camera looks in; open rooms get their walls there. closed: a room on all sides, for
    cameras that turn.
    """
    kind = 1.0 if closed else rng.random()
    if kind < 0.5 and rng.random() < 0.75:
        return []
    drop = 0.0 if rng.random() < 0.7 else rng.uniform(0, 0.8)
    size = np.array([rng.uniform(0.6, 2.0), rng.uniform(0.6, 2.2), rng.uniform(0.02, 0.08)])
    middle = np.array([rng.uniform(-0.1, 0.7), rng.uniform(-0.3, 0.3), -drop - size[2] / 2 - BELOW])
    props = [box(tuple(size), random_material(rng, assets, 0.75), tuple(middle), 20 if closed else 10)]
    if kind > 0.7:
        props += _room(rng, assets, middle, away, closed)
    return props


def _room(rng: np.random.Generator, assets: Assets, middle: np.ndarray, away: np.ndarray, closed: bool) -> list[Prop]:
    """A floor and two walls, or all four and a ceiling."""
    floor = middle[2] - rng.uniform(0.05, 0.8)
    reach = rng.uniform(1.0, 3.0) + (0.8 if closed else 0.0)
    x, y, z = np.eye(3) * 2 * reach
    corner = np.array([middle[0] - reach, middle[1] - reach, floor])
    cells = 40 if closed else 24
    props = [Prop(*grid(corner, x, y, cells), random_material(rng, assets, 0.8))]
    wall = random_material(rng, assets, 0.6)
    other = wall if rng.random() < 0.6 else random_material(rng, assets, 0.8)
    far_x, far_y = (x if away[0] > 0 else 0 * x), (y if away[1] > 0 else 0 * y)
    height = z * 0.7
    props.append(Prop(*grid(corner + far_x, y, height, cells), wall))
    props.append(Prop(*grid(corner + far_y, x, height, cells), other))
    if closed:
        props.append(Prop(*grid(corner + x - far_x, y, height, cells), random_material(rng, assets, 0.6)))
        props.append(Prop(*grid(corner + y - far_y, x, height, cells), wall))
        props.append(Prop(*grid(corner + height, x, y, cells), random_material(rng, assets, 0.2)))
    return props
