"""Real training pictures without hand labels: cameras and end-effector poses are known, joint angles are not.

Inverse kinematics gives the arm's one-parameter family of poses for the recorded end effector. The member whose
outline runs along the strongest edges in all pictures of the instant is taken, its joints are moved until the outline
sits on the edges, and its silhouette labels the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pose.camera import Camera
from pose.kernel import make_model, see
from segmentation.errors import TrainingError
from segmentation.training.shards import Sample, encode
from urdf import Robot
from urdf.inverse import inverse_kinematics

REDUNDANT = 2  # the joint that is swept: the elbow of a seven-joint arm turns about the line from shoulder to wrist
SWEEPS = (np.linspace(-1.5, 1.5, 25), np.linspace(-0.12, 0.12, 7))  # radians
STEPS = (0.01, 0.005, 0.0025, 0.00125)  # radians, metres
PASSES = 4  # over the joints with one step
FILE = "calib_and_poses.json"


@dataclass(frozen=True)
class Posed:
    """A folder of pictures: cameras by name, and the end effector's pose T_base_link (4,4) of every instant.

    `pictures(i)` are BGR, in the order of the cameras.
    """

    folder: Path
    cameras: dict[str, Camera]
    poses: list[np.ndarray]

    def pictures(self, instant: int) -> list[np.ndarray]:
        """Read the pictures of one instant.

        Raises:
            TrainingError: one is missing, or of another size than its camera.
        """
        out = []
        for name, camera in self.cameras.items():
            file = self.folder / f"{instant:03d}_{name}.jpg"
            picture: Any = cv2.imread(str(file))
            if picture is None or picture.shape[:2] != (camera.height, camera.width):
                raise TrainingError(f"{file}: expected a picture of {camera.width}x{camera.height} pixels")
            out.append(picture)
        return out


def open_posed(folder: Path) -> Posed:
    """Read `calib_and_poses.json`: cameras {name: {K, T_cam_base, resolution}} and frames [{ee_position_m,
    ee_quaternion_xyzw}]; the pictures are NNN_<camera>.jpg.

    Raises:
        TrainingError: no such file, or not of this form. CameraError: a camera that is none.
    """
    file = folder / FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        cameras = {}
        for name, c in data["cameras"].items():
            width, height = c["resolution"]
            content = {"width": width, "height": height, "K": c["K"], "T_cam_base": c["T_cam_base"]}
            cameras[name] = Camera.from_dict(content, f"{file}: {name}")
        poses = []
        for frame in data["frames"]:
            T = np.eye(4)
            T[:3, :3] = Rotation.from_quat(frame["ee_quaternion_xyzw"]).as_matrix()
            T[:3, 3] = frame["ee_position_m"]
            poses.append(T)
    except OSError:
        raise TrainingError(f"{file}: no such file; it says where cameras and end effector are") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"{file}: expected cameras with K, T_cam_base and resolution, and frames with ee_position_m and "
            f"ee_quaternion_xyzw ({error})"
        ) from None
    return Posed(folder, cameras, poses)


def swept_pose(robot: Robot, T_base_link: np.ndarray, link: str, swept: float, start: np.ndarray) -> np.ndarray | None:
    """Joint angles that put a link at a pose with joint REDUNDANT at `swept`; None when it is out of reach."""
    q0 = start.copy()
    q0[REDUNDANT] = swept
    free = [int(j) for j in robot.arm_joints if j != REDUNDANT]
    found = inverse_kinematics(robot, T_base_link, q0, link=link, joints=free, restarts=0)
    close = found.position_error < 0.004 and found.rotation_error < 0.02
    return found.q if close else None


class Outline:
    """How well the robot's outline sits on the edges of the pictures of one instant."""

    def __init__(self, robot: Robot, cameras: Sequence[Camera], pictures: Sequence[np.ndarray]):
        """pictures: (H,W,3) uint8, one a camera; every camera has its T_cam_base."""
        self.model, self.cameras = make_model(robot), list(cameras)
        self.edges = [edge_strength(p) for p in pictures]

    def part(self, q: np.ndarray, view: int) -> np.ndarray:
        """(H,W) uint8: 0 background, 1 arm, 2 gripper."""
        c = self.cameras[view]
        face, _, _ = see(self.model, q, np.asarray(c.T_cam_base, float), c.K, c.height, c.width, 1)
        return np.where(face >= 0, 1 + self.model.face_part[face], 0).astype(np.uint8)

    def support(self, q: np.ndarray) -> float:
        """Mean edge strength along the silhouette's outline, the pictures' borders left out."""
        total, count = 0.0, 0
        for view, strength in enumerate(self.edges):
            inside = (self.part(q, view) > 0).astype(np.uint8)
            outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
            outline[:2] = outline[-2:] = outline[:, :2] = outline[:, -2:] = False
            total, count = total + float(strength[outline].sum()), count + int(outline.sum())
        return total / max(count, 1)


def edge_strength(picture: np.ndarray) -> np.ndarray:
    """(H,W) float32: root of the largest gradient of three colours; strong edges do not outvote the rest."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.2).astype(np.float32)
    x, y = (np.abs(cv2.Sobel(smooth, -1, *d)).max(2) for d in ((1, 0), (0, 1)))
    return np.sqrt(np.hypot(x, y))


def found_pose(robot: Robot, outline: Outline, T_base_link: np.ndarray, link: str) -> np.ndarray | None:
    """Joints (n,) that put the link there and the outline on the edges; None where it is out of reach."""
    best, start, support = None, robot.rest, -1.0
    for values in SWEEPS:
        middle = 0.0 if best is None else float(best[REDUNDANT])
        for value in values + middle:
            q = swept_pose(robot, T_base_link, link, float(value), start)
            score = -1.0 if q is None else outline.support(q)
            if q is not None and score > support:
                best, support = q, score
        start = start if best is None else best
    return None if best is None else sharpened(robot, outline.support, best)


def sharpened(robot: Robot, support: Callable[[np.ndarray], float], q: np.ndarray) -> np.ndarray:
    """Joints (n,) near q that the function likes best: one joint after the other, in ever smaller steps."""
    best = support(q)
    for step in STEPS:
        for _ in range(PASSES):
            before = best
            for joint in range(len(q)):
                for way in (step, -step):
                    while True:
                        tried = q.copy()
                        tried[joint] = np.clip(q[joint] + way, robot.lower[joint], robot.upper[joint])
                        score = support(tried)
                        if score <= best:
                            break
                        q, best = tried, score
            if best == before:
                break
    return q


def label_posed(
    posed: Posed, robot: Robot, link: str, use: Sequence[str], report: Callable[[int, int], None]
) -> Iterator[Sample]:
    """Labelled pictures of the cameras `use`; all cameras help to find the pose. Instants out of reach are left out."""
    cameras = list(posed.cameras.values())
    for i, T in enumerate(posed.poses):
        pictures = posed.pictures(i)
        outline = Outline(robot, cameras, pictures)
        q = found_pose(robot, outline, T, link)
        report(i + 1, len(posed.poses))
        if q is None:
            continue
        support = outline.support(q)
        for view, (name, camera) in enumerate(posed.cameras.items()):
            if name in use:
                yield encode(
                    pictures[view][..., ::-1], outline.part(q, view), clip=name, frame=i, robot=robot.source,
                    joint_names=list(robot.joint_names), q=q.tolist(), camera=camera.to_dict(), source="posed",
                    edge_support=support,
                )  # fmt: skip
