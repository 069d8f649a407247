"""Things that move with the robot or past it: what it holds, cables along the arm, people's hands. Never robot."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pose.camera import Camera
from pose.props import box, tube
from pose.shading import Material, Prop
from segmentation.training.assets import Assets
from segmentation.training.cameras import eye_of
from segmentation.training.clutter import placed_at
from segmentation.training.hand import grasp_frame
from segmentation.training.motion import Motion
from segmentation.training.things import blob, random_material, random_object
from urdf import Robot

Mover = Callable[[float, np.ndarray], Prop]  # of seconds and link poses (L,4,4)
GRAVITY = 9.81


def attachments(rng: np.random.Generator, assets: Assets, robot: Robot, poses: np.ndarray) -> list[Mover]:
    """Sometimes something in the hand, a hose along the arm, a mount under the base."""
    movers: list[Mover] = []
    if rng.random() < 0.3:
        movers.append(_held_anyhow(rng, assets, robot))
    if rng.random() < 0.35:
        hose = _hose(rng, poses)
        movers += [] if hose is None else [hose]
    if rng.random() < 0.25:
        height = rng.uniform(0.02, 0.7)
        plate = (rng.uniform(0.18, 0.6), rng.uniform(0.18, 0.6), height)
        mount = box(plate, random_material(rng, assets, 0.4), (0, 0, -height / 2 - 0.003))
        movers.append(lambda time, poses: mount)
    return movers


def carried(rng: np.random.Generator, assets: Assets, motion: Motion, seconds: float) -> tuple[list[Mover], list[Prop]]:
    """An object that the motion grasps: it waits on a stand, moves with the hand, and falls when let go.

    Returns the object, and the stand where there is one.
    """
    if motion.grasp is None:
        return [], []
    robot, (start, end) = motion.robot, motion.grasp
    T_ee_grasp = grasp_frame(robot)
    opening = 0.04
    if robot.gripper is not None:
        opening = float(robot.gripper.opening(motion.at((max(start, 0) + min(end, seconds)) / 2)))
    thing = random_object(rng, assets)
    extent = np.ptp(thing.vertices, axis=0)
    size = float(np.clip(opening / max(float(extent.min()), 0.05), 0.04, 0.25)) * rng.uniform(0.8, 1.05)
    across = np.roll(np.eye(3), int(np.argmin(extent)), axis=1)  # its thin side between the fingers
    T_grasp_thing = np.eye(4)
    spin = cv2.Rodrigues(np.array([rng.uniform(-3.14, 3.14), 0, 0]))[0]
    T_grasp_thing[:3, :3] = spin @ across.T * size
    T_grasp_thing[:3, 3] = rng.normal(0, 0.15, 3) * size * [0.1, 1, 1]
    T_ee_thing = T_ee_grasp @ T_grasp_thing

    def at(time: float, poses: np.ndarray) -> Prop:
        if start <= time <= end:
            return thing.placed(poses[robot.ee_index] @ T_ee_thing)
        then = motion.robot.link_poses(motion.at(start if time < start else end))
        T = then[robot.ee_index] @ T_ee_thing
        if time > end:
            fallen = T[2, 3] - GRAVITY / 2 * (time - end) ** 2
            T[2, 3] = max(fallen, min(size / 2, T[2, 3]))
        return thing.placed(T)

    stands: list[Prop] = []
    if start > 0:
        T = robot.link_poses(motion.at(start))[robot.ee_index] @ T_ee_thing
        top = float((thing.vertices @ T[:3, :3].T)[:, 2].min() + T[2, 3])
        if top > 0.02:
            side = (*rng.uniform(0.06, 0.2, 2), top)
            stands.append(box(side, random_material(rng, assets, 0.4), (T[0, 3], T[1, 3], top / 2 - 0.002)))
    return [at], stands


def passing(rng: np.random.Generator, assets: Assets, camera: Camera, points: np.ndarray, seconds: float) -> Mover:
    """Something that crosses between the camera and the robot: an object, or an arm in a sleeve with its hand."""
    eye = eye_of(camera)
    to = points[rng.integers(len(points))]
    share = rng.uniform(0.35, 0.75)
    across = float(np.linalg.norm(to - eye)) * share * camera.width / camera.focal
    R = np.asarray(camera.T_cam_base)[:3, :3]
    angle = rng.uniform(0, 2 * np.pi)
    course = (R[0] * np.cos(angle) + R[1] * np.sin(angle)) * across  # in the picture's plane
    crossing, pace = rng.uniform(0.2, 0.8) * seconds, rng.uniform(0.3, 1.2) / max(seconds, 0.5)
    if rng.random() < 0.4:
        thing, size = _human_arm(rng, assets, angle), 1.0
        T = np.eye(4)
        T[:3, :3] = R.T * max(across / 1.2, 0.3)
    else:
        thing, size = random_object(rng, assets), rng.uniform(0.15, 0.45) * across
        T = placed_at(rng, np.zeros(3), size)
    middle = eye + (to - eye) * share

    def at(time: float, poses: np.ndarray) -> Prop:
        now = T.copy()
        now[:3, 3] = middle + course * (time - crossing) * pace
        return thing.placed(now)

    return at


def _human_arm(rng: np.random.Generator, assets: Assets, angle: float) -> Prop:
    """A sleeve that comes in from the side it moves from, in camera axes, about as long as the picture is wide."""
    out = -np.array([np.cos(angle), np.sin(angle), 0.1])
    path = out * np.linspace(0, 1.5, 24)[:, None]
    path[:, 2] += 0.05 * np.sin(np.linspace(0, rng.uniform(1, 4), 24))
    if rng.random() < 0.5:
        tone = np.array([0.88, 0.66, 0.53]) * rng.uniform(0.3, 1.05)
        return tube(path, rng.uniform(0.05, 0.09), Material(tuple(np.clip(tone, 0, 1)), 0.6), 14)
    return tube(path, rng.uniform(0.07, 0.12), random_material(rng, assets, 0.4), 14)


def _held_anyhow(rng: np.random.Generator, assets: Assets, robot: Robot) -> Mover:
    """Something at the hand, whatever the fingers do; often a dark cloth or bag that hangs down."""
    size = rng.uniform(0.04, 0.2)
    aside, along, hangs = rng.normal(0, 0.01, 3), rng.uniform(0.0, 0.12), rng.random() < 0.4
    thing = random_object(rng, assets)
    if hangs:
        thing = blob(rng).dressed(Material(tuple(np.full(3, rng.uniform(0.02, 0.3))), 0.9))
    turn = placed_at(rng, np.zeros(3), size)

    def at(time: float, poses: np.ndarray) -> Prop:
        ee = poses[robot.ee_index]
        T = turn.copy()
        if not hangs:
            T[:3, :3] = ee[:3, :3] @ turn[:3, :3]
        T[:3, 3] = ee[:3, 3] + ee[:3, 2] * along + aside - [0, 0, size / 2 * hangs]
        return thing.placed(T)

    return at


def _hose(rng: np.random.Generator, poses: np.ndarray) -> Mover | None:
    """A cable past some links, which it follows; None for robots too short for one."""
    step = max(1, len(poses) // 7)
    first = poses[::step, :3, 3]
    apart = np.r_[True, np.linalg.norm(np.diff(first, axis=0), axis=1) > 0.02]
    links = np.flatnonzero(apart) * step
    if len(links) < 3:
        return None
    links = links[rng.integers(0, len(links) - 2) :]
    aside = rng.normal(0, 0.05, (len(links), 3))
    shade = rng.uniform(0.02, 0.2) if rng.random() < 0.8 else rng.uniform(0.2, 0.9)
    radius, material = rng.uniform(0.003, 0.011), Material((shade,) * 3, 0.5)

    def at(time: float, poses: np.ndarray) -> Prop:
        path = poses[links, :3, 3] + np.einsum("nij,nj->ni", poses[links, :3, :3], aside)
        s = np.linspace(0, len(path) - 1, 40)
        fine = np.stack([np.interp(s, np.arange(len(path)), path[:, i]) for i in range(3)], 1)
        for _ in range(12):
            fine = np.r_[fine[:1], (fine[:-2] + 2 * fine[1:-1] + fine[2:]) / 4, fine[-1:]]
        return tube(fine, radius, material)

    return at
