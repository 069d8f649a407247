"""The columns of an exported row and what LeRobot calls their features.

observation.state         joint: arm joints (rad, m), then the gripper's opening as a fraction, 1 = open
                          ee: x y z (m), qx qy qz qw in base axes, then the gripper (OXE's POS_QUAT)
action                    joint: the next row's joints and gripper, absolute
                          ee: dx dy dz droll dpitch dyaw gripper, as in `flows.actions` (OXE's 7-D)
observation.images.<cam>  the picture nearest in time
valid                     False where the row was bridged
uncertainty.joints        standard deviation of every joint of the robot (rad, m)
uncertainty.ee            of the end effector: position (m), rotation (rad)
camera_extrinsics.<cam>   x y z roll pitch yaw of the camera in the base frame (m, rad, fixed axes), as in DROID
camera_intrinsics.<cam>   fx fy cx cy in pixels; distortion and the exact K are in the sidecar
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from flows.actions import pose_vectors
from flows.exporting.action_extraction import ActionClip
from pose.camera import Camera
from urdf import Robot

SPACES = ("joint", "ee")
POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
DELTA = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
EULER = ("x", "y", "z", "roll", "pitch", "yaw")
INDICES = {"frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}


def state_joints(robot: Robot) -> list[int]:
    """Columns of q in a state: all but the one that the gripper's opening stands for."""
    own = [] if robot.gripper is None else [robot.gripper.joint]
    return [i for i in range(len(robot.joint_names)) if i not in own]


def features(robot: Robot, space: str, cam: str, size: tuple[int, int] | None, fps: int) -> dict[str, dict[str, Any]]:
    """LeRobot's features; `size` is (width, height) of the pictures, None without any."""
    joints = [robot.joint_names[i] for i in state_joints(robot)]
    has_gripper = robot.gripper is not None
    state = (list(POSE) if space == "ee" else joints) + ["gripper"] * has_gripper
    action = list(DELTA) if space == "ee" else joints + ["gripper"] * has_gripper

    def vector(names: list[str]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": {"axes": names}}

    out: dict[str, dict[str, Any]] = {"observation.state": vector(state), "action": vector(action)}
    if size is not None:
        out[f"observation.images.{cam}"] = {
            "dtype": "video",
            "shape": [size[1], size[0], 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": size[1],
                "video.width": size[0],
                "video.codec": "av1",
                "video.pix_fmt": "yuv420p",
                "video.fps": fps,
                "video.channels": 3,
                "is_depth_map": False,
                "has_audio": False,
            },
        }
    out["valid"] = {"dtype": "bool", "shape": [1], "names": None}
    out["uncertainty.joints"] = vector(list(robot.joint_names))
    out["uncertainty.ee"] = vector(["position", "rotation"])
    out[f"camera_extrinsics.{cam}"] = vector(list(EULER))
    out[f"camera_intrinsics.{cam}"] = vector(["fx", "fy", "cx", "cy"])
    out["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    return out | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in INDICES.items()}


def columns(robot: Robot, clip: ActionClip, camera: Camera, space: str, cam: str) -> dict[str, np.ndarray]:
    """The values of a clip's rows by feature, (N,) or (N,k), without pictures and without the data set's indices."""
    gripper = clip.gripper[:, None][:, : int(robot.gripper is not None)]
    joints = state_joints(robot)
    following = np.minimum(np.arange(len(clip)) + 1, len(clip) - 1)
    if space == "ee":
        state, action = np.hstack([pose_vectors(clip.poses), gripper]), clip.actions
        if robot.gripper is None:
            action = np.where(np.arange(7) == 6, 0.0, action)
    else:
        state = np.hstack([clip.q[:, joints], gripper])
        action = state[following]
    count = len(clip)
    return {
        "observation.state": state.astype(np.float32),
        "action": action.astype(np.float32),
        "valid": np.asarray(clip.valid, bool),
        "uncertainty.joints": clip.sigma.astype(np.float32),
        "uncertainty.ee": clip.ee_sigma.astype(np.float32),
        f"camera_extrinsics.{cam}": np.tile(extrinsics(camera), (count, 1)).astype(np.float32),
        f"camera_intrinsics.{cam}": np.tile(intrinsics(camera), (count, 1)).astype(np.float32),
        "timestamp": (np.arange(count) / clip.fps).astype(np.float32),
        "frame_index": np.arange(count),
    }


def extrinsics(camera: Camera) -> np.ndarray:
    """(6,) position (m) and roll, pitch, yaw (rad, fixed axes) of the camera in the base frame; NaN where unknown."""
    if camera.T_cam_base is None:
        return np.full(6, np.nan)
    T_base_cam = np.linalg.inv(np.asarray(camera.T_cam_base, float))
    return np.concatenate([T_base_cam[:3, 3], Rotation.from_matrix(T_base_cam[:3, :3]).as_euler("xyz")])


def intrinsics(camera: Camera) -> np.ndarray:
    """(4,) fx, fy, cx, cy in pixels, pixel centres at whole numbers."""
    K = np.asarray(camera.K, float)
    return np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]])
