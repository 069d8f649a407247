"""The tool's frame, told from the gripper itself, so that catalogues with other axes agree.

Origin = the end effector's; z = from the gripper's root to its fingers; y = the way they close. Robots without a
gripper keep the end effector's axes.
"""

from __future__ import annotations

import numpy as np

from urdf import Robot


def tool_axes(robot: Robot) -> np.ndarray:
    """R_ee_tool (3,3): the tool's axes in the end effector's frame."""
    if robot.gripper is None:
        return np.eye(3)
    column = robot.gripper.joint
    widest, closed = (robot.gripper.values[f(robot.gripper.openings)] for f in (np.argmax, np.argmin))
    q = np.tile(robot.rest, (2, 1))
    q[:, column] = widest, closed
    poses = robot.link_poses(q)
    ee = poses[0, robot.ee_index]
    mesh = robot.mesh
    moved, middle = [], []
    for link in range(len(robot.link_names)):
        points = mesh.vertices[mesh.vertex_link == link].astype(float)
        if len(points) and np.abs(poses[1, link] - poses[0, link]).max() > 1e-6:
            at = [(poses[i, link, :3, :3] @ points.T).T.mean(0) + poses[i, link, :3, 3] for i in (0, 1)]
            moved.append(at[1] - at[0])
            middle.append(at[0])
    pairs = [(i, j) for i in range(len(moved)) for j in range(i)]
    i, j = max(pairs, key=lambda pair: float(np.linalg.norm(moved[pair[0]] - moved[pair[1]])))
    y = ee[:3, :3].T @ (moved[i] - moved[j])
    y /= np.linalg.norm(y)
    root = _gripper_root(robot)
    z = ee[:3, :3].T @ ((middle[i] + middle[j]) / 2 - poses[0, root, :3, 3])
    z -= y * (y @ z)
    z /= np.linalg.norm(z)
    # catalogues mean their axes exactly; meshes are a little crooked
    axes = np.stack([np.cross(y, z), y, z], 1)
    return np.round(axes) if np.abs(axes - np.round(axes)).max() < 0.15 else axes


def _gripper_root(robot: Robot) -> int:
    """The first link of the gripper above the joint that opens it."""
    assert robot.gripper is not None
    link = int(np.flatnonzero(robot.tree.q_index == robot.gripper.joint)[0])
    while robot.tree.parent[link] >= 0 and robot.link_parts[robot.tree.parent[link]] == "gripper":
        link = int(robot.tree.parent[link])
    return link
