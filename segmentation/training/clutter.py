"""Things that stand around the robot and hide parts of it."""

from __future__ import annotations

import cv2
import numpy as np

from pose.camera import Camera
from pose.shading import Prop
from segmentation.training.assets import Assets
from segmentation.training.cameras import eye_of
from segmentation.training.things import furniture, random_object


def placed_at(rng: np.random.Generator, where: np.ndarray, size: float) -> np.ndarray:
    """T_base_prop: scaled by `size`, turned at random (upright half of the time), centred at `where`."""
    v = rng.standard_normal(3) if rng.random() < 0.5 else np.array([0, 0, 1.0])
    R = cv2.Rodrigues(v / np.linalg.norm(v) * rng.uniform(0, 6.28))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R * size, where
    return T


def random_clutter(
    rng: np.random.Generator, assets: Assets, target: np.ndarray, camera: Camera, points: np.ndarray, table: bool
) -> list[Prop]:
    """Objects on the table or in the air, furniture behind, sometimes something in front of the robot.

    target: (3,) what the camera looks at; points: (N,3) of the robot; table: things may stand at z = 0.
    """
    eye = eye_of(camera)
    distance = float(np.linalg.norm(target - eye))
    across = distance * camera.width / camera.focal
    props = []
    for _ in range(rng.poisson(4 if rng.random() < 0.7 else 10)):
        size = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4)))) * min(1.0, across)
        where = target + rng.uniform(-0.6, 0.6, 3) * across
        if table and rng.random() < 0.7:
            where[2] = size / 2 * 0.8
        near = float(np.linalg.norm(where - eye))
        if near > max(0.3, 1.2 * size) and (near > 0.8 * distance or size < 0.12 * distance):
            props.append(random_object(rng, assets).placed(placed_at(rng, where, size)))
    if rng.random() < 0.12:
        props += _occluder(rng, assets, eye, points, across)
    if rng.random() < 0.3:
        props += _furniture_behind(rng, assets, target, eye)
    return props


def _occluder(
    rng: np.random.Generator, assets: Assets, eye: np.ndarray, points: np.ndarray, across: float
) -> list[Prop]:
    """Something between the camera and a point of the robot."""
    share = rng.uniform(0.35, 0.8)
    where = eye + (points[rng.integers(len(points))] - eye) * share + rng.normal(0, 0.05, 3)
    size = rng.uniform(0.05, 0.3) * across * share
    if np.linalg.norm(where - eye) < 0.15 + size:
        return []
    return [random_object(rng, assets).placed(placed_at(rng, where, size))]


def _furniture_behind(rng: np.random.Generator, assets: Assets, target: np.ndarray, eye: np.ndarray) -> list[Prop]:
    away = (target - eye) * [1, 1, 0]
    away = away / (np.linalg.norm(away) + 1e-6)
    spot = target * [1, 1, 0] + away * rng.uniform(0.5, 2.0) + np.array([-away[1], away[0], 0]) * rng.normal(0, 0.7)
    spot[2] = -rng.uniform(0, 0.8)
    T = np.eye(4)
    turn = rng.uniform(0, 6.28)
    T[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    T[:3, 3] = spot
    return [p.placed(T) for p in furniture(rng, assets)]
