"""How much of a joint's turn can be seen: the surface it moves, compared with itself before the turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from urdf import Robot
from urdf.robot import RobotMesh

TURNS = tuple(np.deg2rad([20.0, 45.0, 75.0, 90.0, 135.0, 180.0]))  # looked at unless angles are given
POINTS, DENSE = 1500, 40_000  # of the turned surface, and of the surface it is compared with
SHARE = 0.95  # of the surface that counts: a screw or a logo is no difference


def turn_changes(robot: Robot, column: int, angles: Sequence[float] = TURNS) -> np.ndarray:
    """Metres that the surface beyond a joint differs from itself after turning the joint, one number an angle.

    The distance from points of the turned surface to the nearest of the unturned one, at the 95th percentile; 0
    where the joint moves no geometry.

    Args:
        robot: at its rest pose.
        column: of the joint in q.
        angles: radians.
    """
    mesh = robot.mesh
    moved = _moved(robot, column)[mesh.face_link]
    if not moved.any():
        return np.zeros(len(angles))
    rng = np.random.default_rng(0)
    dense = _sample(mesh, moved, DENSE, rng)
    few = _sample(mesh, moved, POINTS, rng)
    tree = cKDTree(_placed(robot, robot.rest, *dense))
    changes = []
    for angle in (0.0, *angles):  # 0 shows how far apart the samples lie
        q = robot.rest.copy()
        q[column] += angle
        changes.append(np.quantile(tree.query(_placed(robot, q, *few))[0], SHARE))
    return np.maximum(np.array(changes[1:]) - changes[0], 0.0)


def _moved(robot: Robot, column: int) -> np.ndarray:
    """(L,) bool: links that the joint carries along."""
    moved = robot.tree.q_index == column
    for link, parent in enumerate(robot.tree.parent):
        if parent >= 0:
            moved[link] |= moved[parent]
    return moved


def _sample(mesh: RobotMesh, chosen: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (N,3) spread evenly over faces (F,) bool, in their link's frame, and their links (N,)."""
    faces = np.nonzero(chosen)[0]
    a, b, c = (mesh.vertices[mesh.faces[faces, i]].astype(float) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    pick = rng.choice(len(faces), count, p=area / area.sum())
    u, v = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - u) * a[pick] + u * (1 - v) * b[pick] + u * v * c[pick], mesh.face_link[faces[pick]]


def _placed(robot: Robot, q: np.ndarray, points: np.ndarray, links: np.ndarray) -> np.ndarray:
    T = robot.link_poses(q)[links]
    return np.einsum("nij,nj->ni", T[:, :3, :3], points) + T[:, :3, 3]
