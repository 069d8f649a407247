"""Where cameras stand and how they move: whole robots, pieces of them, DROID-like side views, close-ups, wrists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from pose.camera import Camera
from urdf import Robot

LEAST, MOST = 0.015, 0.75  # share of the picture that a robot covers
CELLS = 160 / 3  # of the grid on which the share is counted, across the picture
CameraTrack = Callable[[float, np.ndarray], Camera]  # of seconds and link poses (L,4,4)


def look_at(eye: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """T_cam_base of a camera at `eye` that looks at `target`, turned by `roll` radians about its axis."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 0, 1.0])
    x = x / np.linalg.norm(x) if np.linalg.norm(x) > 1e-3 else np.array([1.0, 0, 0])
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    R = np.stack([c * x + s * y, c * y - s * x, z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return T


def eye_of(camera: Camera) -> np.ndarray:
    """(3,) position of a camera in the base frame."""
    T = np.asarray(camera.T_cam_base)
    return -T[:3, :3].T @ T[:3, 3]


def random_camera(
    rng: np.random.Generator, points: np.ndarray, poses: np.ndarray, robot: Robot, width: int, height: int
) -> tuple[Camera, np.ndarray]:
    """A camera and the point it looks at: the whole robot, a piece of it, a DROID-like side view, or a close-up.

    points: (N,3) of the robot in the base frame; poses: (L,4,4) of its links.
    """
    size = float(np.ptp(points, axis=0).max())
    focal = width / 2 / np.tan(np.radians(np.exp(rng.uniform(np.log(32), np.log(95)))) / 2)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(np.clip(rng.normal(25, 22), -20, 80))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    roll = rng.uniform(-np.pi, np.pi) if rng.random() < 0.12 else rng.normal(0, 0.07)
    kind = rng.random()
    if kind < 0.42:
        target = (points.max(0) + points.min(0)) / 2 + rng.normal(0, 0.1, 3) * size
        across = size / rng.uniform(0.35, 1.15)
    elif kind < 0.80:
        target = (
            points[rng.integers(len(points))] * 0.5 + poses[robot.ee_index, :3, 3] * 0.5 + rng.normal(0, 0.15, 3) * size
        )
        across = size * rng.uniform(0.4, 1.1)
    elif kind < 0.92:
        side = rng.choice([-1, 1])
        eye = np.array([rng.uniform(-0.3, 0.7), side * rng.uniform(0.3, 0.95), rng.uniform(0.25, 0.9)]) * max(size, 0.5)
        target = np.array([rng.uniform(0.3, 0.7), rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.35)]) * max(size, 0.5)
        focal = width / 2 / np.tan(np.radians(rng.uniform(55, 95)) / 2)
        return Camera.from_focal(width, height, focal, look_at(eye, target, roll)), target
    else:
        target = poses[robot.ee_index, :3, 3] + rng.normal(0, 0.06, 3)
        across = rng.uniform(0.2, 0.5)
    eye = target + direction * across * focal / width
    return Camera.from_focal(width, height, focal, look_at(eye, target, roll)), target


def wrist_camera(
    rng: np.random.Generator, T_ee_grasp: np.ndarray, width: int, height: int, farther: float = 1.0
) -> Camera:
    """A camera on the hand that looks past the fingers; its `T_cam_base` holds T_cam_ee.

    farther: factor on its distance from the hand's axis, for thick wrists.
    """
    focal = width / 2 / np.tan(np.radians(rng.uniform(65, 105)) / 2)
    around = rng.uniform(0, 2 * np.pi)
    aside = rng.uniform(0.05, 0.11) * farther
    eye = np.array([np.cos(around) * aside, np.sin(around) * aside, -rng.uniform(0.1, 0.22)])
    target = np.array([0, 0, rng.uniform(-0.02, 0.12)]) + rng.normal(0, 0.015, 3)
    # look_at keeps z up, which in the grasp frame is the viewing direction: roll it so that the hand comes from above
    T_cam_grasp = look_at(eye, target, rng.choice([0, np.pi]) + rng.normal(0, 0.1))
    return Camera.from_focal(width, height, focal, T_cam_grasp @ np.linalg.inv(T_ee_grasp))


def still(camera: Camera) -> CameraTrack:
    """A camera on a tripod."""
    return lambda time, poses: camera


def on_link(camera: Camera, link: int) -> CameraTrack:
    """A camera whose `T_cam_base` is relative to a link, carried by it."""

    def at(time: float, poses: np.ndarray) -> Camera:
        return Camera(camera.width, camera.height, camera.K, camera.T_cam_base @ np.linalg.inv(poses[link]))

    return at


def handheld(rng: np.random.Generator, camera: Camera, target: np.ndarray) -> CameraTrack:
    """Walks slowly about what it looks at, and trembles: sums of slow and fast sines."""
    eye = eye_of(camera)
    distance = float(np.linalg.norm(target - eye))
    drift, turn = rng.normal(0, 0.06, 3) * distance, rng.normal(0, 0.12)  # metres and radians in a second
    waves = rng.normal(0, 1, (4, 6)) * np.array([0.02, 0.02, 0.005, 0.002])[:, None] * rng.uniform(0.2, 1.5)
    speed, phase = rng.uniform([1, 3, 8, 20], [3, 6, 15, 40])[:, None], rng.uniform(0, 6.28, (4, 6))
    start = np.asarray(camera.T_cam_base)

    def at(time: float, poses: np.ndarray) -> Camera:
        shake = (waves * (np.sin(speed * time + phase) - np.sin(phase))).sum(0)
        spin = Rotation.from_rotvec([0, 0, turn * time]).as_matrix()
        now = target + spin @ (eye - target) + drift * time + shake[:3] * distance
        # the first picture is the given camera; afterwards it follows the target as far as a hand does
        follow = look_at(eye, target, 0)[:3, :3].T @ look_at(now, target, 0)[:3, :3]
        R = Rotation.from_rotvec(shake[3:]).as_matrix() @ start[:3, :3] @ follow
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ now
        return Camera(camera.width, camera.height, camera.K, T)

    return at


def clear(points: np.ndarray, camera: Camera, reach: float = 0.08) -> bool:
    """True when nothing of the robot (N,3, base frame) is within `reach` metres of the camera or across its lens."""
    cam = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    in_cone = np.abs(cam[:, :2]).max(1) < np.abs(cam[:, 2]) * 1.2
    lens = in_cone & (cam[:, 2] > -1.25 * reach) & (cam[:, 2] < 1.5 * reach)
    return not lens.any() and float(np.linalg.norm(cam, axis=1).min()) > reach


def well_covered(points: np.ndarray, camera: Camera) -> bool:
    """True when the robot (N,3, base frame) covers neither too little of the picture nor too much."""
    cam = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    uv = camera.project(cam[cam[:, 2] > 0.02]) * (CELLS / camera.width)
    rows = CELLS * camera.height / camera.width
    seen = (uv >= 0).all(1) & (uv < (CELLS, rows)).all(1)
    return LEAST < len(np.unique(uv[seen].astype(int), axis=0)) / (CELLS * rows) < MOST
