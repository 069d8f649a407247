"""What reducing the meshes costs: triangles, seconds to prepare them, and pixels by which silhouettes move.

    python -m benchmarks.meshes [ROBOT ...] [--faces 3000 30000] [--views 24]

A robot is a name of the catalogue or the path of a description; without any, all of the catalogue that are here.
Seconds: the first load with an empty cache of meshes (compiled code cached), by the clock and of computing; the clock
runs longer on a busy machine, shorter where threads help.

Silhouettes: random joint angles inside the limits and random views from 20 degrees below to 60 above the horizon,
the robot's middle 1.5 m before a camera of 640x480 pixels and a focal length of 600, drawn with 4x4 samples a pixel
from all triangles and from the reduced ones. Distances are taken along the outlines (holes included) of both to the
other one:
    mean    signed: positive where the reduced robot is larger. This one biases a fit.
    abs     mean without sign
    95 %    of all outline points are nearer than this
    max     the farthest point in any view
The issue's bound of 0.5 pixels is held against the 95 % of the outline.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import cv2
import numpy as np

from pose.raster import inverse_depth, rasterize
from urdf import Robot, RobotError, cache, list_robots, load_robot
from urdf.robot import RobotMesh

WIDTH, HEIGHT, FOCAL, DISTANCE, SAMPLES = 640, 480, 600.0, 1.5, 4
BOUND = 0.5  # pixels


def silhouette(mesh: RobotMesh, T_cam_link: np.ndarray) -> np.ndarray:
    """(H*SAMPLES, W*SAMPLES) bool."""
    T = T_cam_link[mesh.vertex_link]
    points = np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3]
    depth = np.maximum(points[:, 2:], 1e-3)
    uv = points[:, :2] / depth * FOCAL + [WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5]
    return rasterize(uv.astype(np.float32), inverse_depth(points[:, 2]), mesh.faces, HEIGHT, WIDTH, SAMPLES)[0] >= 0


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels to the outline at the centre of every sample, negative inside."""
    outside, inside = (
        cv2.distanceTransform(np.uint8(m), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for m in (mask == 0, mask)
    )
    return np.where(mask, 0.5 - inside, outside - 0.5) / SAMPLES


def along_outline(mask: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """A distance field read where neighbouring samples are one inside and one outside of a mask."""
    values = [
        (distance[a][edge] + distance[b][edge]) / 2
        for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]))
        for edge in [mask[a] != mask[b]]
    ]
    return np.concatenate(values)


def random_view(robot: Robot, mesh: RobotMesh, rng: np.random.Generator) -> np.ndarray:
    """(L,4,4) T_cam_link."""
    T_base_link = robot.link_poses(robot.random_configuration(rng))
    T = T_base_link[mesh.vertex_link]
    points = np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3]
    turn, rise = rng.uniform(-np.pi, np.pi), rng.uniform(np.radians(-20), np.radians(60))
    back = np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
    right = np.array([-np.sin(turn), np.cos(turn), 0.0])
    T_cam_base = np.eye(4)
    T_cam_base[:3, :3] = np.stack([right, np.cross(right, back), -back])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    T_cam_base[:3, 3] = [0, 0, DISTANCE] - T_cam_base[:3, :3] @ middle
    return T_cam_base @ T_base_link


def errors(robot: Robot, full: RobotMesh, meshes: Iterable[RobotMesh], views: int) -> list[np.ndarray]:
    """Signed distances between the outlines of full and reduced meshes, over all views, one array a mesh."""
    rng = np.random.default_rng(0)
    meshes = list(meshes)
    found: list[list[np.ndarray]] = [[] for _ in meshes]
    for _ in range(views):
        T_cam_link = random_view(robot, meshes[0], rng)
        whole = silhouette(full, T_cam_link)
        field = signed_distance(whole)
        for mesh, values in zip(meshes, found):
            reduced = silhouette(mesh, T_cam_link)
            values += [along_outline(reduced, field), -along_outline(whole, signed_distance(reduced))]
    return [np.concatenate(values) for values in found]


def seconds(spec: str) -> tuple[float, float]:
    """To load a robot in a fresh process with an empty cache of meshes: by the clock, and of computing."""
    code = (
        "import time; t, c = time.time(), time.process_time(); from urdf import load_robot; "
        f"load_robot({spec!r}); print(time.time() - t, time.process_time() - c)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sources", "wheels", "archives"):  # fetched descriptions are no part of this
            if (cache.folder() / name).is_dir():
                os.symlink(cache.folder() / name, os.path.join(folder, name))
        result = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "URDFIT_CACHE": folder}, capture_output=True, text=True
        )
    wall, computing = result.stdout.split()[-2:] if result.returncode == 0 else ("nan", "nan")
    return float(wall), float(computing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robots", nargs="*")
    parser.add_argument("--faces", type=int, nargs="+", default=[3000, 30_000])
    parser.add_argument("--views", type=int, default=24)
    options = parser.parse_args()
    if not options.robots:
        options.robots = list_robots()
    print(f"{'robot':28} triangles  seconds    cpu  reduced    mean    abs   95 %    max")
    for spec in options.robots:
        name = os.path.basename(spec)[:28]
        try:
            robot = load_robot(spec)
        except RobotError as error:
            print(f"{name:28} {error}")
            continue
        full = robot._build_mesh.full()
        meshes = [robot.with_mesh_faces(faces).mesh for faces in options.faces]
        wall, computing = seconds(spec)
        for mesh, values in zip(meshes, errors(robot, full, meshes, options.views)):
            size = np.abs(values)
            far = np.percentile(size, 95)
            print(
                f"{name:28} {len(full.faces):9} {wall:8.1f} {computing:6.1f} {len(mesh.faces):8} {values.mean():+7.3f} "
                f"{size.mean():6.3f} {far:6.2f} {size.max():6.1f}{' above' if far > BOUND else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
