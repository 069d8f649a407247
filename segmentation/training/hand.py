"""Where a gripper holds things: measured on its meshes, so that any description will do."""

from __future__ import annotations

import numpy as np

from urdf import Robot

TIP = 0.2  # share of the fingers' vertices, farthest along the approach, that are fingertips
MOVED = 1e-3  # metres that a finger travels at least


def grasp_frame(robot: Robot) -> np.ndarray:
    """T_ee_grasp (4,4): origin between the fingertips, x along the line between them, z the approach.

    Without a gripper that opens: 5 cm before the end effector, its own axes.
    """
    T_ee_grasp = np.eye(4)
    T_ee_grasp[2, 3] = 0.05
    gripper = robot.gripper
    if gripper is None:
        return T_ee_grasp
    q = np.stack([robot.rest, robot.rest])
    q[:, gripper.joint] = gripper.from_opening(0.0), gripper.from_opening(gripper.max_opening)
    poses = robot.link_poses(q)
    links, mesh = robot.mesh.vertex_link, robot.mesh
    T_ee_vertex = (np.linalg.inv(poses[:, robot.ee_index])[:, None] @ poses)[:, links]
    points = np.einsum("svij,vj->svi", T_ee_vertex[..., :3, :3], mesh.vertices) + T_ee_vertex[..., :3, 3]
    moved = np.linalg.norm(points[1] - points[0], axis=1) > MOVED
    if not moved.any():
        return T_ee_grasp
    fingers, travel = points[1, moved], (points[1] - points[0])[moved]
    x = np.linalg.eigh(travel.T @ travel)[1][:, -1]
    wrist = points[1, ~moved & (robot.part_of_link[links] == 1)]  # the rest of the gripper
    z = fingers.mean(0) - (wrist.mean(0) if len(wrist) else np.zeros(3))
    z -= z @ x * x
    z /= np.linalg.norm(z) + 1e-12
    sides = [fingers[travel @ x > 0], fingers[travel @ x <= 0]]
    tips = [side[side @ z >= np.quantile(side @ z, 1 - TIP)].mean(0) for side in sides if len(side)]
    T_ee_grasp[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
    T_ee_grasp[:3, 3] = np.mean(tips, axis=0)
    return T_ee_grasp
