"""Depth fusion and hulls against known shapes, and depth fusion beside Open3D's VoxelBlockGrid.

    python -m benchmarks.fusion [--open3d PYTHON] [--turntable FOLDER --box x0,y0,z0,x1,y1,z1]

The scene is a table with boxes and balls seen by cameras on a ring, with the noise of a RealSense: errors that grow
with z^2, disparity in steps, holes, pixels that fly between front and back at edges. Both sides take the same pictures
at the same voxel and band. Open3D runs in an interpreter of its own (`pip install open3d-cpu==0.20.0 libusb-package`),
since it is no dependency of this project.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from pose.camera import Camera
from twin.hull import HullSettings, carve_hull
from twin.hull_turntable import read_turntable
from twin.mesh import Mesh
from twin.observation import Observation
from twin.surface import areas
from twin.tsdf import TsdfSettings, fuse_depth

VOXEL, BAND = 0.004, 0.016
BOXES = [
    ((0.1, -0.3, 0.0), (0.25, -0.1, 0.12)),
    ((-0.3, 0.05, 0.0), (-0.22, 0.3, 0.2)),
    ((-0.05, 0.2, 0), (0.2, 0.26, 0.05)),
]
BALLS = [((-0.15, -0.2, 0.06), 0.06), ((0.3, 0.15, 0.09), 0.09)]
TABLE = 0.6  # half its side, metres
OPEN3D = r"""
import ctypes, json, resource, sys, time
import numpy as np
import libusb_package
ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
import open3d as o3d
data, out, voxel, band = np.load(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
core = o3d.core
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
kinds = (core.float32, core.uint16, core.uint16)
grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight", "color"), kinds, ((1), (1), (3)), voxel, 8, 20000)
for depth, image, K, T in zip(data["depth"], data["image"], data["K"], data["T"]):
    z, c = o3d.t.geometry.Image(depth), o3d.t.geometry.Image(image.astype(np.float32) / 255)
    K, T = core.Tensor(K), core.Tensor(T)
    blocks = grid.compute_unique_block_coordinates(z, K, T, 1.0, 4.0, band / voxel)
    grid.integrate(blocks, z, c, K, K, T, 1.0, 4.0, band / voxel)
mesh = grid.extract_triangle_mesh(float(sys.argv[5]))
seconds = time.perf_counter() - start
np.savez(out, vertices=mesh.vertex.positions.numpy(), faces=mesh.triangle.indices.numpy())
print(json.dumps({"seconds": seconds, "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1e3}))
"""


def signed_distance(p: np.ndarray) -> np.ndarray:
    """Metres from the scene's surface, (N,)."""
    table = np.maximum(np.abs(p) - [TABLE, TABLE, 0.01] + [0, 0, 0], 0)  # a slab of 2 cm, its top at z = 0.01
    least = np.linalg.norm(table, axis=-1) + np.minimum((np.abs(p) - [TABLE, TABLE, 0.01]).max(-1), 0)
    for low, high in BOXES:
        q = np.abs(p - np.add(low, high) / 2) - np.subtract(high, low) / 2
        least = np.minimum(least, np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0))
    for center, radius in BALLS:
        least = np.minimum(least, np.linalg.norm(p - center, axis=-1) - radius)
    return least


def look_at(eye: np.ndarray, target: tuple[float, float, float]) -> np.ndarray:
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = right, np.cross(forward, right), forward
    T[:3, 3] = -T[:3, :3] @ eye
    return T


def render(camera: Camera) -> np.ndarray:
    """Exact depth (H,W) by walking along the rays (sphere tracing), 0 where nothing is within 4 m."""
    v, u = np.indices((camera.height, camera.width)).reshape(2, -1)
    T = np.linalg.inv(camera.T_cam_base)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.K).T @ T[:3, :3].T
    length = np.linalg.norm(rays, axis=-1)
    z = np.full(len(rays), 0.2)
    alive = np.arange(len(rays))
    for _ in range(150):
        step = signed_distance(T[:3, 3] + z[alive, None] * rays[alive])
        z[alive] += step / length[alive]
        alive = alive[(step > 1e-5) & (z[alive] < 4)]
    z[alive] = 0
    z[z >= 4] = 0
    return z.reshape(camera.height, camera.width)


def realsense(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth as a RealSense gives it: 1 mm of error at 1 m and as z^2, steps of disparity, holes, flying pixels."""
    known = z > 0
    disparity = 50 / np.maximum(z, 1e-3) + rng.normal(0, 0.05, z.shape)  # pixels: focal 1000, baseline 5 cm
    noisy = 50 / np.maximum(np.round(disparity * 32) / 32, 1e-3)
    jump = np.zeros(z.shape, bool)
    jump[:, 1:] |= np.abs(np.diff(z, axis=1)) > 0.03
    jump[1:] |= np.abs(np.diff(z, axis=0)) > 0.03
    flying = jump & (rng.random(z.shape) < 0.5)
    noisy[flying] = (noisy + (np.roll(noisy, 1, 1) - noisy) * rng.random(z.shape))[flying]
    holes = rng.random((z.shape[0] // 8 + 1, z.shape[1] // 8 + 1)) < 0.01
    known &= ~np.kron(holes, np.ones((8, 8), bool))[: z.shape[0], : z.shape[1]]
    return np.where(known, np.round(noisy * 1000) / 1000, 0).astype(np.float32)


def sample(mesh: Mesh, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points spread evenly over a mesh, (count,3)."""
    area = areas(mesh)
    face = rng.choice(len(area), count, p=area / area.sum())
    a, b = rng.random((2, count, 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    p, q, r = (mesh.vertices[mesh.faces[face, n]] for n in range(3))
    return p + a * (q - p) + b * (r - p)


def scores(mesh: Mesh, seen: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """F-scores against the points `seen` (N,3) of the true surface; how near the mesh is by its exact distance."""
    points = sample(mesh, 200_000, rng)
    off = np.abs(signed_distance(points))
    miss = cKDTree(points).query(seen)[0]
    result = {"mean_mm": 1000 * off.mean(), "p95_mm": 1000 * np.quantile(off, 0.95)}
    for d in (0.002, 0.005, 0.01):
        precision, recall = (off < d).mean(), (miss < d).mean()
        result[f"F@{1000 * d:.0f}mm"] = 2 * precision * recall / max(precision + recall, 1e-9)
    return {**result, "triangles": float(len(mesh.faces))}


def pictures(count: int, noise: bool) -> tuple[list[Observation], np.ndarray]:
    """`count` views at 640x480 on a ring, and points of the surface that they see, 5 mm apart on average."""
    rng = np.random.default_rng(0)
    views, seen = [], []
    for n in range(count):
        a = 2 * np.pi * n / count
        camera = Camera.from_focal(
            640, 480, 600, look_at(np.array([np.cos(a), np.sin(a), 0.6 + 0.2 * (n % 2)]), (0, 0, 0.05))
        )
        z = render(camera)
        v, u = np.nonzero(z)
        pick = rng.choice(len(u), 20_000)
        rays = np.stack([u[pick], v[pick], np.ones(len(pick))], -1) @ np.linalg.inv(camera.K).T
        T = np.linalg.inv(camera.T_cam_base)
        seen.append((rays * z[v[pick], u[pick], None]) @ T[:3, :3].T + T[:3, 3])
        image = np.full((480, 640, 3), 128, np.uint8)
        views.append(Observation(camera, image, realsense(z, rng) if noise else z.astype(np.float32), view=n))
    return views, np.concatenate(seen)


def with_open3d(python: str, views: list[Observation], least: float) -> tuple[Mesh, dict[str, float]]:
    """The mesh that Open3D makes of the same pictures; `least` pictures must have seen a voxel."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            data, depth=[v.depth for v in views], image=[v.image for v in views], K=[v.camera.K for v in views],
            T=[v.camera.T_cam_base for v in views],
        )  # fmt: skip
        command = [python, "-c", OPEN3D, str(data), str(out), str(VOXEL), str(BAND), str(least)]
        spent = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        made = np.load(out)
        return Mesh(made["vertices"].astype(float), made["faces"].astype(np.int32)), spent


def show(name: str, values: dict[str, float]) -> None:
    print(f"{name:34s} " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)


def compare(python: str | None) -> None:
    """Ours, and Open3D's, on 3 and 24 views with and without noise."""
    fuse_depth(pictures(1, False)[0])  # compile
    for count in (3, 24):
        for noise in (False, True):
            views, seen = pictures(count, noise)
            title = f"{count} views{', noise' if noise else ''}"
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.perf_counter()
            mesh = fuse_depth(views, TsdfSettings(VOXEL, BAND))
            spent = {"seconds": time.perf_counter() - start}
            spent["mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
            show(f"{title}: ours", {**scores(mesh, seen, np.random.default_rng(1)), **spent})
            if python:
                for least in (0.0, 2.0):
                    theirs, cost = with_open3d(python, views, least)
                    values = {**scores(theirs, seen, np.random.default_rng(1)), **cost}
                    show(f"{title}: Open3D, weight > {least:.0f}", values)


def turntable(folder: str, box: str, voxel: float, threshold: float) -> None:
    """By how many millimetres the hull's bounding box is outside the given one."""
    start = time.perf_counter()
    mesh = carve_hull(read_turntable(folder, threshold), HullSettings(voxel=voxel, min_views=3))
    low, high = np.array([float(v) for v in box.split(",")]).reshape(2, 3)
    low_mm, high_mm = 1000 * (low - mesh.vertices.min(0)), 1000 * (mesh.vertices.max(0) - high)
    seconds = time.perf_counter() - start
    print(f"{folder}: {seconds:.1f} s, {len(mesh.faces)} triangles, outside the box by (mm):")
    print(f"low {np.round(low_mm, 2)} high {np.round(high_mm, 2)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open3d", metavar="PYTHON", help="interpreter that has open3d-cpu and libusb-package")
    parser.add_argument("--turntable", metavar="FOLDER")
    parser.add_argument("--box", help="its true bounding box: x0,y0,z0,x1,y1,z1 in metres")
    parser.add_argument("--voxel", type=float, default=0.0005)
    parser.add_argument("--threshold", type=float, default=0.19)
    options = parser.parse_args()
    if options.turntable:
        turntable(options.turntable, options.box, options.voxel, options.threshold)
    else:
        compare(options.open3d)


if __name__ == "__main__":
    main()
