"""The opening of a gripper: from the finger pads that the catalogue names, else measured on its meshes."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from urdf.errors import RobotError
from urdf.kinematics import link_poses
from urdf.labels import GripperLabel
from urdf.robot import Gripper, KinematicTree, RobotMesh

ROWS = 33  # of an opening's table
SAMPLES = 9  # joint values looked at on meshes
BACK = 0.02  # measured on meshes, an opening may run back by this part of its range
LEAST = 2e-3  # metres of travel below which nothing opens


def measure_gripper(
    label: GripperLabel,
    link_names: tuple[str, ...],
    tree: KinematicTree,
    column: int,
    rest: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    source: str,
) -> Gripper:
    """The distance between two finger pads over the range of their joint, along their line when wide open.

    Args:
        label: the pads.
        link_names, tree: the robot.
        column: of the joint in q.
        rest, lower, upper: (n,) a configuration and the limits.
        source: for messages.

    Raises:
        RobotError: the joint does not open the pads steadily.
    """
    values = np.linspace(lower[column], upper[column], ROWS)
    q = np.tile(rest, (ROWS, 1))
    q[:, column] = values
    poses = link_poses(tree, q)
    a, b = (poses[:, link_names.index(pad.link)] @ np.array([*pad.xyz, 1.0]) for pad in label.pads)
    apart = (b - a)[:, :3]
    widest = apart[int(np.argmax(np.linalg.norm(apart, axis=1)))]
    openings = apart @ widest / max(float(np.linalg.norm(widest)), 1e-12)
    steps = np.diff(openings)
    if np.ptp(openings) < LEAST or not ((steps > -1e-9).all() or (steps < 1e-9).all()):
        where = f"{1000 * openings.min():.1f} to {1000 * openings.max():.1f} mm"
        raise RobotError(f"{source}: joint {label.joint!r} does not open its pads steadily ({where} over its range)")
    return Gripper(column, values, openings)


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
    the opening. Fingers that slide apart are measured along their motion, others between their nearest
    vertices.

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
        sign = 1.0 if best[1][-1] > best[1][0] else -1.0
        openings = sign * np.maximum.accumulate(sign * best[1])
        if np.abs(openings - best[1]).max() > BACK * best[0]:
            continue
        return Gripper(int(column), values, openings)
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
