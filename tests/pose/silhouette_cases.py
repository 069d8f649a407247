"""Robots without files and the hard reference rendering that the silhouette tests compare with."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import trimesh

from pose import Camera
from pose.backends.cpu import CpuBackend
from pose.silhouette import project_vertices


class Mesh(SimpleNamespace):
    """What the renderer reads of a `urdf.RobotMesh`."""


@dataclass(frozen=True)
class Slider:
    """A fixed arm mesh and a gripper mesh that slides along x and turns about z, for tests without robot files."""

    mesh: Any
    part_of_face: np.ndarray
    name: str = "slider"
    joint_names: tuple[str, ...] = ("x", "yaw")
    tree: Any = field(default=None)

    def forward_kinematics(self, q: torch.Tensor) -> torch.Tensor:
        x, yaw = q.unbind(-1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        c, s = yaw.cos(), yaw.sin()
        T = torch.stack([c, -s, zero, x, s, c, zero, zero, zero, zero, one, zero, zero, zero, zero, one], -1)
        eye = torch.eye(4, dtype=q.dtype, device=q.device).expand(*x.shape, 4, 4)
        return torch.stack([eye, T.reshape(*x.shape, 4, 4)], -3)


def slider(arm: trimesh.Trimesh, gripper: trimesh.Trimesh | None = None) -> Slider:
    meshes = [arm] if gripper is None else [arm, gripper]
    offset = np.cumsum([0] + [len(m.vertices) for m in meshes])
    mesh = Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]).astype(np.float32),
        faces=np.concatenate([m.faces + o for m, o in zip(meshes, offset)]).astype(np.int32),
        vertex_link=np.repeat(np.arange(len(meshes)), [len(m.vertices) for m in meshes]).astype(np.int32),
    )
    return Slider(mesh, np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes]).astype(np.int8))


def torus() -> Slider:
    """A torus of 3000 triangles."""
    return slider(trimesh.creation.torus(0.3, 0.1, major_sections=50, minor_sections=30))


def ring_and_box() -> Slider:
    """A torus (arm) and a box (gripper) that may hide one another."""
    ring = trimesh.creation.torus(0.3, 0.1, major_sections=50, minor_sections=30)
    return slider(
        ring, trimesh.creation.box((0.2, 0.3, 0.25), transform=trimesh.transformations.translation_matrix((0, 0, 0.3)))
    )


def hard_parts(
    robot: Any, q: torch.Tensor, T_cam_base: torch.Tensor, K: torch.Tensor, camera: Camera, scale: int
) -> np.ndarray:
    """Coverage (2,H,W) of arm and gripper from scale x scale point samples a pixel, for one pose."""
    T = T_cam_base @ robot.forward_kinematics(q)
    uv, z = project_vertices(robot.mesh, T[None], K[None], camera.distortion)
    backend = CpuBackend(samples=scale)
    return backend.coverage(uv, z, robot.mesh, robot.part_of_face, camera.height, camera.width)[0].double().numpy()


def smooth_weights(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(2,H,W) random images of waves longer than about 40 pixels, for arm and gripper."""
    y, x = np.mgrid[:height, :width] * (2 * np.pi)
    images = []
    for _ in range(2):
        f, a, phase = rng.uniform(-1 / 40, 1 / 40, (2, 4)), rng.normal(size=4), rng.uniform(0, 6.3, 4)
        images.append(sum(a[k] * np.sin(f[0, k] * x + f[1, k] * y + phase[k]) for k in range(4)))
    return np.stack(images)


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """T_cam_base (4,4) of an OpenCV camera at `eye` that looks at `target`, Z up in the picture before the roll."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ np.stack([x, y, z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return T


def twisted(T: torch.Tensor, twist: torch.Tensor) -> torch.Tensor:
    """exp(twist) @ T to first order and beyond; twist (6,): rotation (rad), translation (m) in the camera's frame."""
    w, v = twist[:3], twist[3:]
    zero = torch.zeros((), dtype=T.dtype)
    rows = [torch.stack(r) for r in ([zero, -w[2], w[1], v[0]], [w[2], zero, -w[0], v[1]], [-w[1], w[0], zero, v[2]])]
    return torch.matrix_exp(torch.stack([*rows, torch.zeros(4, dtype=T.dtype)])) @ T
