"""The twin from where its cameras stand, beside what they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from twin.export import fitted_joints
from twin.picture import difference, draw, scene_meshes
from twin.rig import Rig, Straightener
from twin.scene import Scene
from urdf import Robot


@dataclass(frozen=True, eq=False)
class Compared:
    """One camera.

    Attributes:
        name: of the camera. time_s: when its picture was taken, seconds on the rig's clock.
        picture, twin, map: (H,W,3) uint8 RGB: what it saw, straightened; the twin from there; their difference.
        still, still_twin, still_map: the same for the clean picture without the robot.
        difference: median of the clean pictures' in grey levels, NaN where the twin shows nothing.
        covered: part of the picture that the twin fills.
    """

    name: str
    time_s: float
    picture: np.ndarray
    twin: np.ndarray
    map: np.ndarray
    still: np.ndarray
    still_twin: np.ndarray
    still_map: np.ndarray
    difference: float
    covered: float


def compare_views(
    scene: Scene, rig: Rig, views: Mapping[int, tuple[np.ndarray, np.ndarray, float]], robot: Robot | None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Compared]:  # fmt: skip
    """Compare every placed camera's pictures with the twin.

    Args:
        views: clean picture (H,W,3), what is unknown in it (H,W) and its time, by view, of straightened cameras.
    """
    found = []
    q = None if scene.robot is None or robot is None else fitted_joints(scene.robot, robot)
    moment = 0.0 if scene.robot is None or not len(scene.robot.times) else scene.robot.times[scene.robot.pose_index]
    for number, (v, (still, unknown, time_s)) in enumerate(sorted(views.items())):
        given = rig.cameras[v]
        if given.camera is None:
            continue
        lens = Straightener(given.camera)
        frame = int(np.abs(given.times - (moment if given.Ts_cam_base is None else time_s)).argmin())
        if given.Ts_cam_base is not None:
            lens.camera = replace(lens.camera, T_cam_base=given.Ts_cam_base[frame])
        elif given.camera.T_cam_base is None:
            continue
        picture = lens.picture(_frame(rig, v, frame))
        eye = np.linalg.inv(np.asarray(lens.camera.T_cam_base, float))[:3, 3]
        bare = draw(scene_meshes(scene), lens.camera)
        drawn = draw(scene_meshes(scene, robot, q, eye), lens.camera)
        shown, _, _ = difference(picture, drawn)
        still_map, apart, covered = difference(still, bare)
        still_map[unknown] = 90
        pictures = (picture, drawn.image, shown, still, bare.image, still_map)
        found.append(Compared(given.name, float(given.times[frame]), *pictures, apart, covered))
        progress(number + 1)
    return found


def _frame(rig: Rig, view: int, index: int) -> np.ndarray:
    """Picture (H,W,3) of a camera by its number, as it is stored."""
    image = None
    for frame in rig.cameras[view].open():
        image = frame.image
        if frame.index >= index:
            break
    assert image is not None
    return image
