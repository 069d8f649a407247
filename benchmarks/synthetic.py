"""Synthetic clips with truth, for the benchmarks of the fit: any robot, any camera, masks with contour errors.

A camera stands at a random side of the robot and sees all of it; all joints move smoothly. Masks are renderings of the
display mesh; their errors are those of segmenters: the contour wanders by a smooth random field, and lies a little
outside the robot.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pose import Camera
from pose.kernel import Model, make_model, see
from pose.start import look, place
from urdf import Robot

WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class Clip:
    """A camera with T_cam_base, joints (T,n), times (T,), and T dicts of masks (H,W) uint8 for robot and gripper."""

    camera: Camera
    q: np.ndarray
    times: np.ndarray
    masks: list[dict[str, np.ndarray]]


@dataclass(frozen=True)
class Noise:
    """Contour errors in pixels: standard deviation, correlation length, and a constant offset outward."""

    sigma: float = 1.0
    correlation: float = 15.0
    offset: float = 0.5


def make_clip(robot: Robot, seed: int, noise: Noise | None, frames: int = 20, fps: float = 10.0) -> Clip:
    """A clip of a robot; the same seed gives the same motion and camera whatever the noise."""
    rng = np.random.default_rng(seed)
    model = make_model(robot, robot.display_mesh)
    q = motion(robot, rng, frames)
    camera = viewpoint(robot, q, rng)
    blur = np.random.default_rng([seed, 1])
    masks = [draw(model, row, camera, noise, blur, gripper=bool(len(robot.gripper_joints))) for row in q]
    return Clip(camera, q, np.arange(frames) / fps, masks)


def motion(robot: Robot, rng: np.random.Generator, frames: int) -> np.ndarray:
    """(T,n) smooth joints around a typical configuration that stays above the floor."""
    unit = np.minimum(1.0, (robot.upper - robot.lower) / 3)
    phase = np.linspace(0, 1, frames)[:, None]
    joints = len(robot.rest)
    for _ in range(200):
        middle = robot.rest + unit * rng.normal(0, 0.35, joints)
        swing = 0.35 * unit * np.sin(2 * np.pi * (phase * rng.uniform(0.3, 1, joints) + rng.uniform(0, 1, joints)))
        q = middle + swing
        hand = robot.gripper_joints
        low, high = robot.lower[hand], robot.upper[hand]
        share = 0.5 + 0.5 * np.sin(2 * np.pi * (phase * rng.uniform(0.5, 1.2) + rng.uniform(0, 1)))
        q[:, hand] = low + (high - low) * share
        q = robot.clip(q)
        if robot.link_poses(q)[:, :, 2, 3].min() > -0.03:
            break
    return q


def viewpoint(robot: Robot, q: np.ndarray, rng: np.random.Generator) -> Camera:
    """A camera from which all frames lie inside the picture, filling 55 to 85 % of it."""
    focal = rng.uniform(420, 800)
    camera = Camera.from_focal(WIDTH, HEIGHT, focal)
    turn = look(rng.uniform(-np.pi, np.pi, 1), rng.uniform(0.05, 0.75, 1), rng.normal(0, 0.04, 1))
    model = make_model(robot)
    share = rng.uniform(0.55, 0.85)
    for _ in range(40):  # smaller until every frame fits
        w, h = share * WIDTH / 2, share * HEIGHT / 2
        sides = np.array([WIDTH / 2 - w, HEIGHT / 2 - h, WIDTH / 2 + w, HEIGHT / 2 + h])
        Ks, cut = np.array(camera.K, float)[None], np.zeros(4, bool)
        T = place(model, q[len(q) // 2][None], np.ascontiguousarray(turn), Ks, sides, cut, np.ones(1))[0]
        if all(_inside(model, row, T, camera) for row in q):
            break
        share *= 0.95
    return Camera(WIDTH, HEIGHT, camera.K, T)


def _inside(model: Model, q: np.ndarray, T: np.ndarray, camera: Camera) -> bool:
    seen = see(model, q, T, camera.K, HEIGHT, WIDTH, 1)[0] >= 0
    return bool(seen.any() and not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any()))


def draw(
    model: Model, q: np.ndarray, camera: Camera, noise: Noise | None, rng: np.random.Generator, gripper: bool = True
) -> dict[str, np.ndarray]:
    """Masks of one frame, 0 and 255."""
    face_id = see(model, q, camera.T_cam_base, camera.K, camera.height, camera.width, 1)[0]
    robot = face_id >= 0
    hand = robot & (model.face_part[np.maximum(face_id, 0)] == 1)
    planes = {"robot": robot, "gripper": hand} if gripper else {"robot": robot}
    return {name: spoiled(plane, noise, rng) for name, plane in planes.items()}


def spoiled(mask: np.ndarray, noise: Noise | None, rng: np.random.Generator) -> np.ndarray:
    """A mask (H,W) bool as a segmenter would give it, 0 and 255."""
    if noise is None or not mask.any():
        return mask.astype(np.uint8) * 255
    # white noise blurred by s is correlated like a Gaussian of s * sqrt(2): down to 1/e at 2 s
    field = cv2.GaussianBlur(rng.normal(size=mask.shape).astype(np.float32), (0, 0), noise.correlation / 2)
    field *= noise.sigma / field.std()
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    # both distances count to the next pixel's centre, half a pixel beyond the contour
    signed = np.where(mask, inside - 0.5, 0.5 - outside)
    return (signed + field + noise.offset > 0).astype(np.uint8) * 255
