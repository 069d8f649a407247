"""Forward kinematics of a tree of links: in torch (batched, differentiable) and in numba (fast on arrays).

Both use Rodrigues' rotation formula, R(v) = I + sin(v) [a]x + (1 - cos(v)) [a]x^2 for a unit axis a,
written as four constant 4x4 matrices a link, so that one product gives every joint's transform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import torch

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


def forward_kinematics(tree: KinematicTree, q: torch.Tensor) -> torch.Tensor:
    """T_base_link (...,L,4,4) for q (...,n), differentiable in q; keeps dtype and device.

    Raises:
        ValueError: q has no column for a joint of the tree.
    """
    import torch

    _check_columns(tree, q.shape)
    # new_tensor copies a few hundred numbers, which is nothing beside the products below
    basis = q.new_tensor(tree.basis).reshape(len(tree.parent), 4, 16)
    column = torch.as_tensor(np.maximum(tree.q_index, 0).astype(np.int64), device=q.device)
    driven = q.new_tensor(np.where(tree.q_index >= 0, tree.multiplier, 0.0))
    batch = q.shape[:-1]
    if q.shape[-1]:
        value = q.reshape(-1, q.shape[-1])[:, column] * driven + q.new_tensor(tree.offset)
    else:
        value = q.new_tensor(tree.offset).expand(max(1, int(np.prod(batch))), -1)
    half = torch.sin(0.5 * value)  # 1 - cos(v) = 2 sin(v/2)^2 keeps its digits near 0
    terms = torch.stack([torch.ones_like(value), torch.sin(value), 2 * half * half, value], -1)  # (N,L,4)
    local = torch.einsum("nlk,lkm->nlm", terms, basis).reshape(-1, len(tree.parent), 4, 4)
    poses: list[torch.Tensor] = []
    for link, parent in enumerate(tree.parent.tolist()):
        poses.append(local[:, link] if parent < 0 else poses[parent] @ local[:, link])
    return torch.stack(poses, 1).reshape(*batch, len(tree.parent), 4, 4)


def link_poses(tree: KinematicTree, q: np.ndarray) -> np.ndarray:
    """T_base_link (...,L,4,4) float64 for q (...,n).

    Raises:
        ValueError: q has no column for a joint of the tree.
    """
    q = np.asarray(q, np.float64)
    _check_columns(tree, q.shape)
    flat = (
        np.ascontiguousarray(q.reshape(-1, q.shape[-1])) if q.shape[-1] else np.zeros((int(np.prod(q.shape[:-1])), 1))
    )
    poses = np.empty((len(flat), len(tree.parent), 4, 4))
    _walk(flat, tree.parent, tree.basis, tree.q_index, tree.multiplier, tree.offset, poses)
    return poses.reshape(*q.shape[:-1], len(tree.parent), 4, 4)


def _check_columns(tree: KinematicTree, shape: tuple[int, ...]) -> None:
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
