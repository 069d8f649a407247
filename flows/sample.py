"""A sample episode with known truth: a Panda moving over a table, drawn by our own renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.files import atomic_path, sha256_json, write_json
from flows.job import robot_of
from flows.overlay import VideoWriter
from flows.progress import report
from flows.store import code_version
from pose.camera import Camera

ROBOT, FRAMES, FPS, SIZE, FOCAL = "panda", 64, 16.0, (640, 480), 610.0
# joint angles the arm passes through, radians: a reach to the side, down to the table, up and over
WAYPOINTS = np.array(
    [
        [-0.45, -0.55, 0.10, -2.25, 0.15, 1.95, 0.60],
        [-0.10, 0.05, -0.15, -2.05, -0.20, 2.15, 1.05],
        [0.35, 0.25, 0.10, -1.85, -0.35, 2.05, 0.70],
        [0.55, -0.20, 0.25, -2.20, 0.10, 2.30, 0.35],
        [0.15, -0.60, -0.10, -2.40, 0.35, 1.80, 0.85],
    ]
)
OPENINGS = (0.075, 0.075, 0.012, 0.012, 0.065)  # of the gripper at the waypoints, metres
SEED = 7


def sample_motion(frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Joint values (T,8) of the Panda and the gripper's opening (T,) in metres: smooth through waypoints."""
    from scipy.interpolate import CubicSpline, PchipInterpolator

    robot = robot_of(ROBOT)
    assert robot.gripper is not None
    knots = np.linspace(0, 1, len(WAYPOINTS))
    t = np.linspace(0, 1, frames)
    opening = PchipInterpolator(knots, OPENINGS)(t)  # does not overshoot the limits
    q = np.zeros((frames, len(robot.joint_names)))
    q[:, robot.arm_joints] = CubicSpline(knots, WAYPOINTS)(t)
    q[:, robot.gripper.joint] = robot.gripper.from_opening(opening)
    return q, opening


def sample_camera() -> Camera:
    """A camera in front of the robot and to its left, that sees the whole arm."""
    eye, target = np.array([1.24, 0.86, 0.84]), np.array([0.18, 0.03, 0.38])
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return Camera.from_focal(*SIZE, FOCAL, T)


def sample_key() -> str:
    """Hash of all the sample depends on."""
    drawing = ("pose/shading.py", "pose/shading_kernel.py", "pose/props.py", "pose/raster.py", "pose/camera.py")
    code = code_version("urdf", "flows/sample.py", "flows/overlay.py", *drawing)
    return sha256_json({"code": code, "size": SIZE, "focal": FOCAL, "frames": FRAMES})


def render_sample(folder: Path) -> None:
    """Write `demo.mp4`, `cam.json` (K alone: what a user would know), `truth.json`, and the true masks."""
    from pose.props import room
    from pose.shading import render_color
    from segmentation import write_mask

    robot, camera = robot_of(ROBOT), sample_camera()
    q, opening = sample_motion(FRAMES)
    rng = np.random.default_rng(SEED)
    scene = room(rng)
    exposure = None
    with atomic_path(folder / "demo.mp4") as temporary, VideoWriter(temporary, FPS, crf=18) as writer:
        for t in range(FRAMES):
            picture = render_color(robot, q[t], camera, scene=scene, exposure=exposure)
            noise = rng.normal(0, 2.5, picture.rgb.shape)  # of a sensor
            writer.write(np.clip(picture.rgb + noise, 0, 255).astype(np.uint8))
            for part, shown in (
                ("robot", picture.part > 0),
                ("arm", picture.part == 1),
                ("gripper", picture.part == 2),
            ):
                write_mask(folder / "truth_masks", part, t, shown.astype(np.uint8) * 255)
            report("render the sample", t + 1, FRAMES)
    write_json(folder / "cam.json", replace(camera, T_cam_base=None).to_dict())
    write_json(
        folder / "truth.json",
        {
            "robot": ROBOT,
            "fps": FPS,
            "joint_names": robot.joint_names,
            "q": q,
            "gripper_opening_m": opening,
            "camera": camera.to_dict(),
        },
    )
