"""Forward kinematics of a tree of links on arrays, compiled; `urdf.torch_kinematics` makes it differentiable.

Both use Rodrigues' rotation formula, R(v) = I + sin(v) [a]x + (1 - cos(v)) [a]x^2 for a unit axis a,
written as four constant 4x4 matrices a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from urdf.robot import KinematicTree

REVOLUTE, PRISMATIC = 1, 2


def motion_basis(origin: np.ndarray, axis: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(L,4,4,4) B with T_parent_link = B0 + sin(v) B1 + (1 - cos(v)) B2 + v B3 for a joint value v.

    origin (L,4,4), axis (L,3) unit vectors, kind (L,); see `KinematicTree`.
    """
    basis = np.zeros((len(kind), 4, 4, 4))
    basis[:, 0] = origin
    for link, (T, a) in enumerate(zip(origin, axis)):
        if kind[link] == REVOLUTE:
            cross = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
            basis[link, 1, :3, :3] = T[:3, :3] @ cross
            basis[link, 2, :3, :3] = T[:3, :3] @ cross @ cross
        elif kind[link] == PRISMATIC:
            basis[link, 3, :3, 3] = T[:3, :3] @ a
    return basis


def link_poses(tree: KinematicTree, q: np.ndarray) -> np.ndarray:
    """T_base_link (...,L,4,4) float64 for q (...,n).

    Raises:
        ValueError: q has no column for a joint of the tree.
    """
    q = np.asarray(q, np.float64)
    check_columns(tree, q.shape)
    flat = q.reshape(int(np.prod(q.shape[:-1])), q.shape[-1])
    poses = np.empty((len(flat), len(tree.parent), 4, 4))
    fill_poses(tree, flat, poses)
    return poses.reshape(*q.shape[:-1], len(tree.parent), 4, 4)


def fill_poses(tree: KinematicTree, q: np.ndarray, poses: np.ndarray) -> None:
    """Write T_base_link for q (N,n) float64 into poses (N,L,4,4), float32 or float64."""
    q = np.ascontiguousarray(q)
    _walk(q, tree.parent, tree.basis, tree.q_index, tree.multiplier, tree.offset, poses)


def check_columns(tree: KinematicTree, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless the last axis of q's shape holds the joints."""
    columns = int(tree.q_index.max(initial=-1)) + 1
    if len(shape) == 0 or shape[-1] != columns:
        raise ValueError(f"q has shape {tuple(shape)}; its last axis must hold the robot's {columns} joints")


@njit(cache=True, nogil=True)
def _walk(q, parent, basis, q_index, multiplier, offset, poses):
    """Fill poses (N,L,4,4) from the root down; rows of a rigid transform only, the last row is constant."""
    local = np.empty((3, 4))
    for n in range(q.shape[0]):
        for link in range(parent.shape[0]):
            value = offset[link]
            if q_index[link] >= 0:
                value += multiplier[link] * q[n, q_index[link]]
            sine, half = np.sin(value), np.sin(0.5 * value)
            versine = 2.0 * half * half
            B = basis[link]
            for i in range(3):
                for j in range(4):
                    local[i, j] = B[0, i, j] + sine * B[1, i, j] + versine * B[2, i, j] + value * B[3, i, j]
            T = poses[n, link]
            T[3, 0], T[3, 1], T[3, 2], T[3, 3] = 0.0, 0.0, 0.0, 1.0
            if parent[link] < 0:
                T[:3] = local
                continue
            P = poses[n, parent[link]]
            for i in range(3):
                for j in range(4):
                    s = P[i, 0] * local[0, j] + P[i, 1] * local[1, j] + P[i, 2] * local[2, j]
                    T[i, j] = s + P[i, 3] if j == 3 else s
