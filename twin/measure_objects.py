"""Errors of objects' poses, by their shapes: names, frames and symmetries do not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from twin.measure_surface import SURFACE_MARGIN, DistanceField
from twin.scene import Body, Scene
from twin.seen import SeenSpace

FAR = 0.15  # metres between centres beyond which two bodies are not the same thing
ROUNDS = 20
PRIOR = 1e-3  # weight of "has not moved" beside one "lies on the surface" a point: decides what shape leaves open


@dataclass(frozen=True)
class ObjectErrors:
    """match: name of the twin's body. position in metres (of the object's centre) and angle in radians: the smallest
    motion that lays the true shape's visible surface onto the twin's, so a can may turn about its axis. residual:
    metres, what is left between the surfaces then (median). center: metres between the middles of the bounding
    boxes. volume: twin's over true bounding box."""

    match: str
    position: float
    angle: float
    residual: float
    center: float
    volume: float


def compare_objects(
    scene: Scene, truth: Scene, seen: SeenSpace, spacing: float, rng: np.random.Generator
) -> tuple[dict[str, ObjectErrors | None], tuple[str, ...]]:
    """Pair bodies that are not static by nearness, then measure each pair; names of the twin's bodies left over."""
    found, true = ([b for b in s.bodies if not b.static] for s in (scene, truth))
    boxes_found, boxes_true = [_box(b) for b in found], [_box(b) for b in true]
    cost = np.array([[np.linalg.norm(f.mean(0) - t.mean(0)) for f in boxes_found] for t in boxes_true])
    cost = cost.reshape(len(true), len(found))
    rows, columns = linear_sum_assignment(np.minimum(cost, FAR)) if cost.size else ((), ())
    pairs = {int(i): int(j) for i, j in zip(rows, columns) if cost[i, j] < FAR}
    errors: dict[str, ObjectErrors | None] = {}
    for i, body in enumerate(true):
        errors[body.name] = _pair(found[pairs[i]], body, seen, spacing, rng) if i in pairs else None
    return errors, tuple(b.name for j, b in enumerate(found) if j not in pairs.values())


def _pair(body: Body, truth: Body, seen: SeenSpace, spacing: float, rng: np.random.Generator) -> ObjectErrors:
    exact = DistanceField(truth.visual.transformed(truth.T_base_body), spacing, rng).points
    points = exact[seen.holds(exact, SURFACE_MARGIN)]
    field = DistanceField(body.visual.transformed(body.T_base_body), spacing, rng)
    a, b = _box(body), _box(truth)
    shift, turn, residual = register(points if len(points) > 50 else exact, b.mean(0), field)
    return ObjectErrors(
        body.name, float(np.linalg.norm(shift)), float(np.linalg.norm(turn)), residual,
        float(np.linalg.norm(a.mean(0) - b.mean(0))), float(np.prod(np.ptp(a, axis=0)) / np.prod(np.ptp(b, axis=0))),
    )  # fmt: skip


def register(points: np.ndarray, center: np.ndarray, field: DistanceField) -> tuple[np.ndarray, np.ndarray, float]:
    """The smallest rigid motion that lays points onto a surface.

    Point-to-surface distances along the line to the nearest point, robustly weighted (Tukey), Gauss-Newton with a
    weak pull to no motion, which alone decides along directions that the shape leaves open.

    Args:
        points: (N,3). center: (3,) that turns are about.

    Returns:
        shift (3,) of the centre in metres, turn (3,) as a rotation vector in radians, median distance after it.
    """
    size = max(float(np.linalg.norm(points - center, axis=1).mean()), 1e-3)
    shift, turn, distance, normals = np.zeros(3), np.zeros(3), np.zeros(len(points)), field.normals
    for round_ in range(ROUNDS + 1):
        arm = (points - center) @ Rotation.from_rotvec(turn).as_matrix().T
        moved = center + shift + arm
        distance, on, face = field.nearest(moved)
        if round_ == ROUNDS:
            break
        normal = normals[face]
        gap = np.einsum("ni,ni->n", on - moved, normal)
        scale = max(3 * 1.48 * float(np.median(distance)), 0.002)
        weight = np.maximum(1 - (distance / scale) ** 2, 0) ** 2
        J = np.column_stack([normal, np.cross(arm, normal) / size])
        prior = PRIOR * max(weight.sum(), 1.0) * np.eye(6)
        x = np.r_[shift, turn * size]
        step = np.linalg.solve((J * weight[:, None]).T @ J + prior, (J * weight[:, None]).T @ gap - prior @ x)
        shift = shift + step[:3]
        turn = (Rotation.from_rotvec(step[3:] / size) * Rotation.from_rotvec(turn)).as_rotvec()
        if np.abs(step).max() < 1e-6:
            break
    return shift, turn, float(np.median(distance))


def _box(body: Body) -> np.ndarray:
    """(2,3) bounding box in the base frame."""
    vertices = body.visual.transformed(body.T_base_body).vertices[np.unique(body.visual.faces)]
    return np.stack([vertices.min(0), vertices.max(0)])
