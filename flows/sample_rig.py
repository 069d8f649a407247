"""The synthetic rig: a Panda moving among objects, three cameras with and without depth, and the truth.

python -m flows.sample_rig FOLDER [--small] [--frames N]
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from flows.files import atomic_folder, sha256_json, write_json
from flows.job import robot_of
from flows.overlay import VideoWriter
from flows.progress import progress_bars, report
from flows.sample import ROBOT, sample_motion
from flows.store import code_version, keep
from pose.camera import Camera

FPS = 15.0


@dataclass(frozen=True)
class RigSize:
    """frames of every camera; scale of the pictures (1: 640x480; sizes stay even); supersample: samples a pixel side;
    mesh faces: the display mesh (fine) or the render mesh."""

    frames: int = 300
    scale: float = 1.0
    supersample: int = 2
    fine: bool = True


FULL, SMALL = RigSize(), RigSize(6, 0.5, 1, False)


def sample_rig(size: RigSize = FULL) -> Path:
    """The rig's folder in the store of stage results; drawn when it is not there yet (full: minutes).

    rig.json: cameras with depth, as a user would write it (true K, no extrinsics); rig_known.json: with true
    extrinsics; rig_rgb.json: without depth. <camera>.mp4, <camera>_depth/*.png in millimetres;
    masks/<camera>/robot/*.png and q.json are true; truth/ is a scene folder.
    """
    drawing = ("pose/shading.py", "pose/shading_kernel.py", "pose/props.py", "pose/raster.py", "pose/camera.py")
    own = ("flows/sample_rig.py", "flows/sample.py", "flows/overlay.py", "twin/sample.py", "twin/sample_depth.py")
    code = code_version("urdf", "twin/visible.py", "twin/physics.py", "twin/scene_files.py", *own, *drawing)
    return keep("sample-rig", sha256_json({"code": code, "size": size.__dict__}), partial(render_rig, size=size)).folder


def render_rig(folder: Path, size: RigSize) -> None:
    """Draw the rig into an existing folder."""
    from twin.sample import sample_cameras, sample_scene
    from twin.scene import RobotMotion
    from twin.scene_files import write_scene

    scene, cameras, robot = sample_scene(), sample_cameras(size.scale), robot_of(ROBOT)
    q, _ = sample_motion(size.frames)
    times = np.arange(size.frames) / FPS
    for number, (name, camera) in enumerate(cameras.items()):
        _render_camera(folder, name, camera, number, q, size)
    write_json(folder / "q.json", {"joint_names": robot.joint_names, "q": q})
    motion = RobotMotion(ROBOT, tuple(robot.joint_names), q, times)
    write_scene(folder / "truth", scene.truth(motion, cameras))
    for name, depth, known in (("rig", True, False), ("rig_known", True, True), ("rig_rgb", False, False)):
        write_json(folder / f"{name}.json", {"cameras": _entries(cameras, depth, known), "world": "base"})


def _entries(cameras: dict[str, Camera], depth: bool, known: bool) -> list[dict]:
    entries = []
    for name, camera in cameras.items():
        given = camera if known else replace(camera, T_cam_base=None)
        entry = {"name": name, "video": f"{name}.mp4", "camera": given.to_dict()}
        entries.append(entry | ({"depth": f"{name}_depth", "depth_scale": 0.001} if depth else {}))
    return entries


def _render_camera(folder: Path, name: str, camera: Camera, number: int, q: np.ndarray, size: RigSize) -> None:
    from pose.shading import render_color
    from segmentation import write_mask
    from twin.sample import sample_scene
    from twin.sample_depth import DepthSensor, measure_depth
    from twin.visible import depth_picture, join, robot_surface

    scene, robot = sample_scene(), robot_of(ROBOT)
    mesh = robot.display_mesh if size.fine else robot.mesh
    still = join(_placed(p.vertices, p.faces, p.T_base_prop) for p in scene.props)
    rng = np.random.default_rng((5, number))
    (folder / f"{name}_depth").mkdir()
    with VideoWriter(folder / f"{name}.mp4", FPS, crf=18) as writer:
        for t in range(len(q)):
            drawn = render_color(robot, q[t], camera, scene=scene.props, mesh=mesh, supersample=size.supersample)
            noisy = drawn.rgb + rng.normal(0, 2.5, drawn.rgb.shape)  # of the sensor
            writer.write(np.clip(noisy, 0, 255).astype(np.uint8))
            write_mask(folder / "masks" / name, "robot", t, (drawn.part > 0).astype(np.uint8) * 255)
            exact = depth_picture(join([still, robot_surface(replace(robot, mesh=mesh), q[t])]), camera)
            depth = measure_depth(exact, camera.focal, DepthSensor(), number, t)
            cv2.imwrite(str(folder / f"{name}_depth" / f"{t:05d}.png"), depth)
            report(f"render camera {name}", t + 1, len(q))


def _placed(vertices: np.ndarray, faces: np.ndarray, T: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    return (vertices if T is None else vertices @ T[:3, :3].T + T[:3, 3]), faces


def main() -> None:
    """Draw the rig (once, into the store) and copy it to a folder."""
    parser = argparse.ArgumentParser(description="Draw the synthetic rig.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="a few small frames")
    parser.add_argument("--frames", type=int, help="another number of frames")
    given = parser.parse_args()
    size = SMALL if given.small else FULL
    with progress_bars():
        source = sample_rig(size if given.frames is None else replace(size, frames=given.frames))
    with atomic_folder(given.folder) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
