"""The opening of a gripper that no catalogue describes, measured on its meshes."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from urdf.kinematics import link_poses
from urdf.robot import Gripper, KinematicTree, RobotMesh

SAMPLES = 7  # joint values looked at
LINEAR = 0.02  # the opening may leave a straight line by this part of its range
LEAST = 2e-3  # metres of travel below which nothing opens


def infer_gripper(
    tree: KinematicTree,
    mesh: RobotMesh,
    columns: np.ndarray,
    rest: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> Gripper | None:
    """The first gripper joint that opens two fingers, or None when no joint does so clearly.

    Two links that the joint moves in different ways are fingers; their distance over the joint's range is
    fitted with a straight line. Fingers that slide apart are measured along their motion, others between
    their nearest vertices.

    Args:
        tree, mesh: the robot.
        columns: columns of q inside the gripper, in order.
        rest, lower, upper: (n,) a configuration and the limits.
    """
    for column in columns:
        values = np.linspace(lower[column], upper[column], SAMPLES)
        if values[-1] - values[0] < 1e-6:
            continue
        q = np.tile(rest, (SAMPLES, 1))
        q[:, column] = values
        poses = link_poses(tree, q)
        tips = _tips(tree, mesh, int(column))
        best: tuple[float, np.ndarray] | None = None
        for i, (a, top_a) in enumerate(tips):
            for b, top_b in tips[i + 1 :]:
                if top_a == top_b:
                    continue
                gap = _gap(mesh, poses, a, b)
                travel = float(np.ptp(gap))
                if best is None or travel > best[0]:
                    best = travel, gap
        if best is None or best[0] < LEAST or best[1].max() <= 0:
            continue
        scale, offset = np.polyfit(values, best[1], 1)
        if np.abs(scale * values + offset - best[1]).max() > LINEAR * best[0]:
            continue
        opening = float(max(scale * values[0] + offset, scale * values[-1] + offset))
        return Gripper(int(column), float(scale), float(offset), opening)
    return None


def _tips(tree: KinematicTree, mesh: RobotMesh, column: int) -> list[tuple[int, int]]:
    """(link, the first link above it that the column moves) for moved links with geometry, none below."""
    top = np.full(len(tree.parent), -1)
    for link, parent in enumerate(tree.parent):
        above = top[parent] if parent >= 0 else -1
        top[link] = above if above >= 0 else (link if tree.q_index[link] == column else -1)
    drawn = np.zeros(len(top), bool)
    drawn[mesh.face_link] = True
    inner = np.zeros(len(top), bool)
    for link in range(len(top) - 1, 0, -1):
        if drawn[link] or inner[link]:
            inner[tree.parent[link]] = True
    return [(i, int(top[i])) for i in range(len(top)) if top[i] >= 0 and drawn[i] and not inner[i]]


def _gap(mesh: RobotMesh, poses: np.ndarray, a: int, b: int) -> np.ndarray:
    """(S,) metres between two links over sampled poses (S,L,4,4)."""
    points = [mesh.vertices[mesh.vertex_link == link].astype(float) for link in (a, b)]
    T_a_b = np.linalg.inv(poses[:, a]) @ poses[:, b]
    shift = T_a_b[-1, :3, 3] - T_a_b[0, :3, 3]
    length = float(np.linalg.norm(shift))
    if length > LEAST and np.abs(T_a_b[:, :3, :3] - T_a_b[0, :3, :3]).max() < 1e-6:
        gap = []
        for T in T_a_b:
            along = points[0] @ shift / length, (points[1] @ T[:3, :3].T + T[:3, 3]) @ shift / length
            gap.append(max(along[1].min() - along[0].max(), along[0].min() - along[1].max()))
        return np.array(gap)
    nearest = cKDTree(points[0])
    return np.array([nearest.query(points[1] @ T[:3, :3].T + T[:3, 3])[0].min() for T in T_a_b])
