"""Milliseconds of a differentiable Panda silhouette, forwards and backwards, beside pytorch3d where it is importable.

    python -m benchmarks.render [--threads 2] [--repeat 30]

Backward goes from the loss to q, T_cam_base and K; its share in the renderer itself and the share of projection and
kinematics are printed apart. pytorch3d blends 8 faces a pixel (sigma 1e-5), its usual setting for silhouettes.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from statistics import median

import numpy as np
import torch

from pose import Camera
from pose.backends import get_backend
from pose.silhouette import project_vertices, render_silhouette
from urdf import Robot, load_robot


def look_at_robot(width: int, height: int) -> Camera:
    """A camera 1.6 m in front of the base and 0.6 m up that sees the whole Panda."""
    T = np.array([[0, 1, 0, 0], [0.25, 0, -0.97, 0.45], [-0.97, 0, -0.25, 1.75], [0, 0, 0, 1.0]])
    return Camera.from_focal(width, height, 1.1 * min(width, height), T)


def measure(robot: Robot, width: int, height: int, backend: str, repeat: int) -> dict[str, float]:
    """Median milliseconds of every stage for one image."""
    camera = look_at_robot(width, height)
    start = torch.tensor([0.3, -0.3, 0.2, -2.0, 0.1, 1.9, 0.8, 0.02])
    times: dict[str, list[float]] = {}

    def lap(name: str, since: float) -> float:
        now = time.perf_counter()
        times.setdefault(name, []).append(1000 * (now - since))
        return now

    for _ in range(repeat + 2):
        q = start.clone().requires_grad_()
        T, K = (torch.tensor(m, dtype=torch.float32, requires_grad=True) for m in (camera.T_cam_base, camera.K))
        now = time.perf_counter()
        image = render_silhouette(robot, q, Camera(width, height, K, T), backend).robot
        now = lap("forward", now)
        loss = ((image - 0.5) ** 2).sum()
        now = time.perf_counter()
        loss.backward()
        now = lap("backward", now)
        # the same again in stages
        T_cam_link = T @ robot.forward_kinematics(q)
        uv, z = project_vertices(robot.mesh, T_cam_link[None], K[None])
        now = lap("forward: kinematics, projection", now)
        uv_leaf, z_leaf = uv.detach().requires_grad_(), z.detach().requires_grad_()
        now = time.perf_counter()
        cover = get_backend(backend).coverage(uv_leaf, z_leaf, robot.mesh, robot.part_of_face, height, width)
        now = lap("forward: renderer", now)
        cover.backward(cover.detach())
        now = lap("backward: renderer", now)
        uv.backward(torch.ones_like(uv))
        lap("backward: projection, kinematics", now)
    return {name: median(values[2:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    robot = load_robot("panda")
    print(f"panda, {len(robot.mesh.faces)} triangles, one image, {options.threads} threads, median ms")
    for width, height in ((256, 256), (640, 480)):
        for backend in ("cpu", *(["pytorch3d"] if find_spec("pytorch3d") else [])):
            repeat = options.repeat if backend == "cpu" else 3
            result = measure(robot, width, height, backend, repeat)
            total = f"forward {result.pop('forward'):.1f}, backward {result.pop('backward'):.1f}"
            print(f"{height}x{width} {backend}: {total}")
            print("   " + "; ".join(f"{name} {value:.1f}" for name, value in result.items()))
    if not find_spec("pytorch3d"):
        print("pytorch3d is not importable: no comparison")


if __name__ == "__main__":
    main()
