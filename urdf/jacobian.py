"""Geometric Jacobians in torch, without autograd: how links and points on them move with the joints.

Everything is expressed at the robot's base, in base axes (Lynch and Park, Modern Robotics, 2017, section 5.1.1).
A mimic joint's motion counts in the column of the joint that leads it. For the Jacobian of a pose computed before,
call these functions with it; `Robot.jacobian` and `Robot.point_jacobian` compute the poses themselves.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from urdf.robot import KinematicTree
from urdf.torch_kinematics import batch_last, constants, cross, screws


def frame_jacobian(tree: KinematicTree, poses: torch.Tensor, link: int) -> torch.Tensor:
    """(...,6,n) velocity of a link's frame per unit of joint velocity, for poses T_base_link (...,L,4,4).

    Rows 0-2 are the velocity of the frame's origin (m), rows 3-5 the angular velocity (rad), both in base axes:
    what pinocchio calls LOCAL_WORLD_ALIGNED.
    """
    flat = poses.reshape(-1, *poses.shape[-3:])
    v, w = _twists(tree, flat, link)
    v = v + cross(w, flat[:, link, :3, 3].mT[:, None])
    return _batch_first(torch.cat([v, w]), poses)


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
    flat = poses.reshape(-1, *poses.shape[-3:])
    T = batch_last(flat.index_select(1, rows))
    x = ((T[:, :3, :3] * x[:, None, :, None]).sum(2) + T[:, :3, 3])[:, :, None]  # (P,3,1,N) in the base
    v, w = (s.unflatten(1, (count, -1)).index_select(1, rows) for s in _twists(tree, flat, None))
    return _batch_first((v + cross(w, x.transpose(0, 1))).transpose(0, 1), poses)


def _twists(tree: KinematicTree, poses: torch.Tensor, link: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(v, w), each (3,n,N), of a link, or (3,L*n,N) of all: its points x move by v + w x x, per unit of q."""
    c = constants(tree, poses)
    columns = int(tree.q_index.max(initial=-1)) + 1
    movers = c.above_all if link is None else c.above[link]
    place, places = c.column[movers], columns
    if link is None:
        place, places = place + columns * c.above_rows, columns * len(tree.parent)

    def by_place(s: torch.Tensor) -> torch.Tensor:
        moved = s.index_select(1, movers) * c.multiplier[movers, None]
        return moved.new_zeros(3, places, len(poses)).index_add(1, place, moved)

    v, w = screws(c, batch_last(poses.index_select(1, c.moving)))
    return by_place(v), by_place(w)


def _batch_first(J: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
    """(...,A,B,C) for J (A,B,C,N) and poses (...,L,4,4) with N = prod(...)."""
    rows = J.reshape(prod(J.shape[:-1]), J.shape[-1]).mT.contiguous()
    return rows.reshape(*poses.shape[:-3], *J.shape[:-1])
