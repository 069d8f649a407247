"""A small arm with a flange of any shape, its silhouettes, and a tracker that stands at given joints."""

from pathlib import Path

import numpy as np

from pose import Camera
from pose.kernel import make_model, see
from pose.start import look
from pose.targets import Targets
from pose.tracking import PYRAMID, Frame, Tracker
from urdf import Robot, load_robot

WIDTH, HEIGHT = 320, 240
BOX = '<origin xyz="0.1 0 0.15"/><geometry><box size="0.25 0.08 0.3"/></geometry>'
ROUND = '<geometry><cylinder radius="0.08" length="0.16"/></geometry>'
BAR = '<geometry><box size="0.3 0.06 0.16"/></geometry>'
HOOK = '<origin xyz="0.1 0 0"/><geometry><box size="0.25 0.06 0.16"/></geometry>'


def arm(folder: Path, flange: str) -> Robot:
    """Two bent links on a foot with corners, and a flange that turns about its own axis."""
    foot = '<origin xyz="0.1 0 0"/><geometry><box size="0.5 0.2 0.1"/></geometry>'
    parts = [f'<robot name="arm"><link name="base"><visual>{foot}</visual></link>']
    chain = (
        ("upper", "base", "0 0 0.1", "0 0 1", BOX), ("fore", "upper", "0 0.05 0.35", "0 1 0", BOX),
        ("flange", "fore", "0.1 0 0.38", "0 0 1", flange),
    )  # fmt: skip
    for i, (child, parent, place, axis, shape) in enumerate(chain):
        parts.append(
            f'<link name="{child}"><visual>{shape}</visual></link><joint name="j{i}" type="revolute">'
            f'<parent link="{parent}"/><child link="{child}"/><origin xyz="{place}"/><axis xyz="{axis}"/>'
            f'<limit lower="-3.1" upper="3.1" velocity="2" effort="1"/></joint>'
        )
    path = folder / "arm.urdf"
    path.write_text("".join([*parts, "</robot>"]))
    return load_robot(path)


def clip(robot: Robot, frames: int = 4) -> tuple[np.ndarray, Camera, list[np.ndarray]]:
    """Joints (T,3) of the small arm, camera, and silhouettes (H,W) bool."""
    phase = np.linspace(0, 1, frames)[:, None]
    q = np.array([0.3, 0.5, 0.4]) + 0.3 * np.sin(2 * np.pi * (0.4 * phase + np.array([0, 0.3, 0.6])))
    return q, *seen(robot, q, 0.45, 300.0, (0.1, 0, 0.4))


def seen(robot: Robot, q: np.ndarray, height: float, focal: float, centre) -> tuple[Camera, list[np.ndarray]]:
    """A camera 1.7 m to the side of a point of the base's frame, and silhouettes (H,W) bool of the joints (T,n)."""
    R = look(np.array([0.7]), np.array([height]), np.array([0.0]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.asarray(centre, float) + [0, 0, 1.7]
    camera, model = Camera.from_focal(WIDTH, HEIGHT, focal, T), make_model(robot, robot.display_mesh)
    return camera, [see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)[0] >= 0 for row in q]


def as_masks(silhouettes) -> list[dict[str, np.ndarray]]:
    """What a fit takes."""
    return [{"robot": one.astype(np.uint8) * 255} for one in silhouettes]


def tracked(robot: Robot, camera: Camera, q: np.ndarray, silhouettes) -> tuple[Targets, Tracker, list[Frame | None]]:
    """Targets, and a tracker with its frames at the joints q (T,n) on the finest level."""
    targets = Targets(as_masks(silhouettes), camera, robot)
    model = make_model(robot, labels=targets.labels)
    views = tuple(targets.view(camera, level.width) for level in PYRAMID)
    free, limits = np.ones(len(robot.rest), bool), (robot.lower, robot.upper)
    tracker = Tracker((model,) * 3, model, targets.channels, views, PYRAMID, free, limits, robot.rest)
    read = [targets.read(t, PYRAMID[-1].width) for t in range(len(q))]
    return targets, tracker, [tracker.information(row, target, np.zeros(3)) for row, target in zip(q, read)]
