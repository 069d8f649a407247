"""Geometric Jacobians in torch, without autograd: how links and points on them move with the joints.

Everything is expressed at the robot's base, in base axes (Lynch and Park, Modern Robotics, 2017, section 5.1.1).
A mimic joint's motion counts in the column of the joint that leads it. For the Jacobian of a pose computed before,
call these functions with it; `Robot.jacobian` and `Robot.point_jacobian` compute the poses themselves.
"""

from __future__ import annotations

import numpy as np
import torch

from urdf.robot import KinematicTree
from urdf.torch_kinematics import constants, screws


def frame_jacobian(tree: KinematicTree, poses: torch.Tensor, link: int) -> torch.Tensor:
    """(...,6,n) velocity of a link's frame per unit of joint velocity, for poses T_base_link (...,L,4,4).

    Rows 0-2 are the velocity of the frame's origin (m), rows 3-5 the angular velocity (rad), both in base axes:
    what pinocchio calls LOCAL_WORLD_ALIGNED.
    """
    v, w = _twists(tree, poses, link)
    origin = poses[..., link, None, :3, 3]
    return torch.cat([v + torch.linalg.cross(w, origin.expand_as(w), dim=-1), w], -1).mT


def point_jacobian(
    tree: KinematicTree, poses: torch.Tensor, links: torch.Tensor | np.ndarray, points: torch.Tensor | np.ndarray
) -> torch.Tensor:
    """(...,P,3,n) velocity in base axes of points fixed to links (m) per unit of joint velocity.

    Args:
        poses: (...,L,4,4) T_base_link.
        links: (P,) row of each point's link, as in `RobotMesh.vertex_link`.
        points: (P,3) in the frames of their links (m), as in `RobotMesh.vertices`.

    Raises:
        ValueError: the shapes do not belong together, or a row is no link's.
    """
    count = len(tree.parent)
    rows = torch.as_tensor(links, device=poses.device).long()
    x = torch.as_tensor(points, dtype=poses.dtype, device=poses.device)
    if rows.ndim != 1 or x.shape != (len(rows), 3):
        raise ValueError(f"links have shape {tuple(rows.shape)}, points {tuple(x.shape)}; expected (P,) and (P,3)")
    if rows.device.type == "cpu" and len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ValueError(f"links run from {int(rows.min())} to {int(rows.max())}; the robot has links 0 to {count - 1}")
    T = poses.index_select(-3, rows)
    x = (T[..., :3, :3] * x[:, None, :]).sum(-1) + T[..., :3, 3]  # in the base
    v, w = (s.index_select(-3, rows) for s in _twists(tree, poses, None))
    return (v + torch.linalg.cross(w, x[..., None, :].expand_as(w), dim=-1)).mT


def _twists(tree: KinematicTree, poses: torch.Tensor, link: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(v, w), each (...,n,3), of a link, or (...,L,n,3) of all: its points x move by v + w x x, per unit of q."""
    c = constants(tree, poses)
    columns = int(tree.q_index.max(initial=-1)) + 1
    movers = c.above_all if link is None else c.above[link]
    place, shape = c.column[movers], [columns]
    if link is None:
        place, shape = place + columns * c.above_rows, [len(tree.parent), columns]

    def by_column(s: torch.Tensor) -> torch.Tensor:
        moved = (s * c.multiplier[:, None]).index_select(-2, movers)
        total = moved.new_zeros(*s.shape[:-2], int(np.prod(shape)), 3).index_add(-2, place, moved)
        return total.unflatten(-2, shape)

    v, w = screws(tree, poses)
    return by_column(v), by_column(w)
