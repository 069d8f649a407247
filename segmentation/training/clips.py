"""Short clips: smooth motion, grasped objects, passing occluders, cameras on tripods, in hands and on wrists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pose.camera import Camera
from pose.shading import ColorImage
from segmentation.training.assets import Assets
from segmentation.training.backdrops import random_backdrop
from segmentation.training.cameras import (
    CameraTrack,
    clear,
    eye_of,
    handheld,
    on_link,
    random_camera,
    still,
    well_covered,
    wrist_camera,
)
from segmentation.training.clutter import random_clutter
from segmentation.training.hand import grasp_frame
from segmentation.training.lights import random_lighting
from segmentation.training.looks import random_look
from segmentation.training.motion import Motion, random_motion
from segmentation.training.movers import attachments, carried, passing
from segmentation.training.scenes import TRIES, Scene, arm_points, frame_facts
from segmentation.training.sensor import exposed, random_sensor, recoded
from segmentation.training.shards import Sample, encode
from segmentation.training.surroundings import random_surroundings
from urdf import Robot

RATES = (5, 10, 15, 30)  # frames a second
VIEWS = {"tripod": 0.6, "handheld": 0.25, "wrist": 0.15}
STREAK = 2.5  # pixels between two exposures of a blurred frame
EXPOSURES = 5  # of one frame at most


def sample_clip(
    rng: np.random.Generator,
    assets: Assets,
    width: int,
    height: int,
    frames: int,
    name: str = "clip",
    view: str | None = None,
) -> Iterator[Sample]:
    """The labelled frames of one clip; masks, joints and camera are those of the middle of the exposure.

    view: one of `VIEWS`, or None to draw it.
    """
    index = int(rng.choice(len(assets.robots), p=assets.weights))
    robot = assets.robots[index]
    fps = int(rng.choice(RATES))
    seconds = (frames - 1) / fps
    view = str(rng.choice(list(VIEWS), p=list(VIEWS.values()))) if view is None else view
    for attempt in range(2 * TRIES):
        view = "tripod" if attempt == TRIES else view  # a hand on which no camera has room
        motion = random_motion(rng, robot, seconds)
        middle = robot.link_poses(motion.at(seconds / 2))
        points = arm_points(robot, middle)
        track, target = _random_track(rng, robot, motion, view, points, middle, width, height, attempt)
        if _sees_well(robot, motion, track, seconds, on_hand=view == "wrist"):
            break
    camera = track(seconds / 2, middle)
    backdrop = random_backdrop(rng, assets, track(0.0, robot.link_poses(motion.at(0.0))), moving=view != "tripod")
    props = random_surroundings(rng, assets, target - eye_of(camera), closed=view == "wrist")
    props += random_clutter(rng, assets, target, camera, points, table=bool(props))
    things, stands = carried(rng, assets, motion, seconds)
    movers = things + attachments(rng, assets, robot, middle)
    if view != "wrist" and rng.random() < 0.2:
        movers.append(passing(rng, assets, camera, points, seconds))
    lighting = random_lighting(rng, assets, backdrop.image)
    scene = Scene(robot, random_look(rng, robot), props + stands, movers, lighting, backdrop)
    sensor = random_sensor(rng, clip=True)

    drawn = []
    for k in range(frames):
        time = k / fps
        times = _exposure_times(robot, motion, track, time, sensor.shutter)
        shots = [_draw(scene, motion, track, t) for t in times]
        middle_shot = shots[len(shots) // 2]
        rgb = sensor.develop(exposed([shot.rgb for shot in shots]), rng)
        drawn.append((time, rgb, middle_shot.part, middle_shot.depth))
    pictures = [rgb for _, rgb, _, _ in drawn]
    if sensor.crf:
        pictures = recoded(pictures, sensor.crf, fps)
    for k, (rgb, (time, _, part, depth)) in enumerate(zip(pictures, drawn)):
        q = motion.at(time)
        facts = frame_facts(
            robot, assets.specs[index], q, track(time, robot.link_poses(q)), time=round(time, 6), fps=fps, view=view,
            holds=motion.grasp is not None and motion.grasp[0] <= time <= motion.grasp[1],
        )  # fmt: skip
        yield encode(rgb, part, depth, clip=name, frame=k, **facts)


def _draw(scene: Scene, motion: Motion, track: CameraTrack, time: float) -> ColorImage:
    q = motion.at(time)
    poses = motion.robot.link_poses(q)
    return scene.draw(q, poses, track(time, poses), time)


def _random_track(
    rng: np.random.Generator, robot: Robot, motion: Motion, view: str, points: np.ndarray, poses: np.ndarray,
    width: int, height: int, attempt: int,
) -> tuple[CameraTrack, np.ndarray]:  # fmt: skip
    """A camera over time and the point it looks at (3,); on thick wrists later attempts are farther out."""
    if view == "wrist":
        T_ee_grasp = grasp_frame(robot)
        target = (poses[robot.ee_index] @ T_ee_grasp)[:3, 3]
        return on_link(wrist_camera(rng, T_ee_grasp, width, height, 1 + 0.2 * attempt), robot.ee_index), target
    camera, target = random_camera(rng, points[::11], poses, robot, width, height)
    return (still(camera) if view == "tripod" else handheld(rng, camera, target)), target


def _sees_well(robot: Robot, motion: Motion, track: CameraTrack, seconds: float, on_hand: bool) -> bool:
    """The robot is well in the picture half-way, and never in the camera's way."""
    reach, step = (0.03, 1) if on_hand else (0.08, 3)
    for time in (seconds / 2, 0.0, seconds):
        poses = robot.link_poses(motion.at(time))
        camera, points = track(time, poses), arm_points(robot, poses)[::step]
        if not clear(points, camera, reach) or (time == seconds / 2 and not well_covered(points, camera)):
            return False
    return True


def _exposure_times(robot: Robot, motion: Motion, track: CameraTrack, time: float, shutter: float) -> list[float]:
    """Odd in number, about `time`: as many as the fastest part of the picture moves in steps of `STREAK` pixels."""
    if shutter == 0:
        return [time]
    ends = [_pixels(robot, motion, track, time + s * shutter / 2) for s in (-1, 1)]
    both = np.isfinite(ends[0]).all(1) & np.isfinite(ends[1]).all(1)
    moved = np.linalg.norm(ends[1] - ends[0], axis=1)[both]
    fast = float(np.quantile(moved, 0.95)) if len(moved) else 0.0
    count = int(np.clip(np.ceil(fast / STREAK), 1, EXPOSURES)) // 2 * 2 + 1
    return [time] if count == 1 else list(time + (np.arange(count) / (count - 1) - 0.5) * shutter)


def _pixels(robot: Robot, motion: Motion, track: CameraTrack, time: float) -> np.ndarray:
    """(N,2) where vertices of the robot, and points of the world about it, are seen; NaN outside the picture."""
    poses = robot.link_poses(motion.at(time))
    camera: Camera = track(time, poses)
    world = np.array([(x, y, z) for x in (-0.5, 0.5, 1.0) for y in (-0.7, 0.7) for z in (0.0, 0.6)])
    points = np.concatenate([arm_points(robot, poses)[::25], world])
    cam = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    uv = np.full((len(cam), 2), np.nan)
    front = cam[:, 2] > 0.02
    uv[front] = camera.project(cam[front])
    uv[((uv < 0) | (uv >= (camera.width, camera.height))).any(1)] = np.nan
    return uv
