"""Real training pictures without hand labels: cameras and end-effector poses are known, joint angles are not.

Inverse kinematics gives the arm's one-parameter family of poses for the recorded end effector; the member whose
outline runs along the strongest edges in all cameras is taken, and its silhouette labels the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from segmentation.training.shards import encode, write_shard
from urdf import Robot
from urdf.inverse import inverse_kinematics

SIZE = (720, 540)  # width, height of a stored picture
REDUNDANT = 2  # the joint that is swept: the elbow turns about the line from shoulder to wrist


def part_mask(robot: Robot, q: np.ndarray, camera: Camera) -> np.ndarray:
    """(H,W) uint8: 0 background, 1 arm, 2 gripper."""
    poses, mesh, T = robot.link_poses(q), robot.mesh, camera.T_cam_base
    points = np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices)
    points = (points + poses[mesh.vertex_link, :3, 3]) @ T[:3, :3].T + T[:3, 3]
    inv_z = inverse_depth(points[:, 2])
    uv = camera.project(np.column_stack([points[:, :2], np.where(inv_z > 0, points[:, 2], 1)]))
    face, _ = rasterize(uv.astype(np.float32), inv_z, mesh.faces, camera.height, camera.width)
    gripper = np.array([part == "gripper" for part in robot.link_parts])[mesh.face_link]
    return np.where(face >= 0, 1 + gripper[face], 0).astype(np.uint8)


def swept_pose(robot: Robot, T_base_link: np.ndarray, link: str, swept: float, start: np.ndarray) -> np.ndarray | None:
    """Joint angles that put a link at a pose with joint REDUNDANT at `swept`; None when it is out of reach."""
    q0 = start.copy()
    q0[robot.gripper_joints] = (robot.lower + robot.upper)[robot.gripper_joints] / 2
    q0[REDUNDANT] = swept
    free = [int(j) for j in robot.arm_joints if j != REDUNDANT]
    found = inverse_kinematics(robot, T_base_link, q0, link=link, joints=free, restarts=0)
    close = found.position_error < 0.004 and found.rotation_error < 0.02
    return found.q if close else None


def edge_support(robot: Robot, q: np.ndarray, cameras: Sequence[Camera], edges: Sequence[np.ndarray]) -> float:
    """Mean edge strength of the pictures along the silhouette's outline, the picture's border left out."""
    total, count = 0.0, 0
    for camera, strength in zip(cameras, edges):
        inside = (part_mask(robot, q, camera) > 0).astype(np.uint8)
        outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        outline[:2] = outline[-2:] = outline[:, :2] = outline[:, -2:] = False
        total, count = total + float(strength[outline].sum()), count + int(outline.sum())
    return total / max(count, 1)


def _edges(picture: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.2).astype(np.float32)
    x, y = (np.abs(cv2.Sobel(smooth, -1, *d)).max(2) for d in ((1, 0), (0, 1)))
    return np.minimum(np.hypot(x, y), 120)


def label_posed_pictures(
    folder: Path, robot: Robot, link_name: str, use: Sequence[str], out: Path, copies: int = 6
) -> int:
    """Label the pictures of the cameras `use` and write them as `copies` shards; returns their number.

    folder: `calib_and_poses.json` (cameras: K, T_cam_base, resolution; frames: ee_position_m, ee_quaternion_xyzw)
    and pictures NNN_<camera>.jpg. All cameras help to find the pose. Copies make real pictures count for more.
    """
    data = json.loads((folder / "calib_and_poses.json").read_text())
    names = list(data["cameras"])
    cameras = []
    for c in data["cameras"].values():
        width, height = c["resolution"]
        cameras.append(Camera(width, height, np.array(c["K"]), np.array(c["T_cam_base"])))
    samples = []
    for i, frame in enumerate(data["frames"]):
        pictures: list[Any] = [cv2.imread(str(folder / f"{i:03d}_{name}.jpg")) for name in names]
        edges = [_edges(p) for p in pictures]
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(frame["ee_quaternion_xyzw"]).as_matrix()
        T[:3, 3] = frame["ee_position_m"]
        best, start, support = None, robot.rest, -1.0
        for values in (np.linspace(-1.5, 1.5, 25), np.linspace(-0.12, 0.12, 7)):
            middle = 0.0 if best is None else float(best[REDUNDANT])
            for value in values + middle:
                q = swept_pose(robot, T, link_name, float(value), start)
                score = -1.0 if q is None else edge_support(robot, q, cameras, edges)
                if q is not None and score > support:
                    best, support = q, score
            start = start if best is None else best
        if best is None:
            continue
        for name, camera, picture in zip(names, cameras, pictures):
            if name in use:
                mask = cv2.resize(part_mask(robot, best, camera), SIZE, interpolation=cv2.INTER_NEAREST)
                large = cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC)
                facts = {
                    "robot": robot.source,
                    "joint_names": list(robot.joint_names),
                    "q": best.tolist(),
                    "source": "real",
                }
                rgb = np.ascontiguousarray(large[..., ::-1])
                samples.append(encode(rgb, mask, clip=f"{folder.name}-{name}", frame=i, **facts))
    out.mkdir(parents=True, exist_ok=True)
    for copy in range(copies):
        write_shard(out / f"real_{copy}.tar", samples)
    return len(samples)
