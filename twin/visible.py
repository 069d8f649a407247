"""What a camera sees of triangles: depth pictures, and which points are hidden."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from twin.mesh import Mesh
from urdf import Robot

Surface = tuple[np.ndarray, np.ndarray]  # vertices (V,3) metres in the base frame, faces (F,3)


def join(surfaces: Iterable[Surface]) -> Surface:
    """One surface from several."""
    points, faces, start = [np.zeros((0, 3))], [np.zeros((0, 3), np.int32)], 0
    for vertices, triangles in surfaces:
        points.append(vertices)
        faces.append(triangles + start)
        start += len(vertices)
    return np.concatenate(points), np.concatenate(faces).astype(np.int32)


def robot_surface(robot: Robot, q: np.ndarray) -> Surface:
    """The robot's render mesh at joint values q (n,), in the base frame."""
    mesh = robot.mesh
    T = robot.link_poses(np.asarray(q, float))[mesh.vertex_link]
    return np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3], mesh.faces


def depth_picture(surface: Surface, camera: Camera) -> np.ndarray:
    """(H,W) float32 metres along the camera's z of the nearest triangle at every pixel centre, 0 where none.

    `camera` needs T_cam_base. Lens distortion is drawn, long edges as chords.
    """
    points, faces = surface
    T = np.asarray(camera.T_cam_base, float)
    cam = points @ T[:3, :3].T + T[:3, 3]
    inv_z = inverse_depth(cam[:, 2])
    uv = camera.project(np.column_stack([cam[:, :2], np.where(inv_z > 0, cam[:, 2], 1)]))
    inverse = rasterize(uv.astype(np.float32), inv_z, faces, camera.height, camera.width)[1]
    return np.where(inverse > 0, 1 / np.maximum(inverse, 1e-9), 0).astype(np.float32)


def before_surface(points: np.ndarray, camera: Camera, depth: np.ndarray, margin: float) -> np.ndarray:
    """Which points (N,3) the camera sees or could see: inside the picture, not more than `margin` metres behind.

    Returns:
        (N,) bool. Pixels without depth hide nothing.
    """
    T = np.asarray(camera.T_cam_base, float)
    cam = points @ T[:3, :3].T + T[:3, 3]
    front = cam[:, 2] > 1e-3
    uv = np.round(camera.project(np.where(front[:, None], cam, [0, 0, 1]))).astype(int)
    inside = front & (uv >= 0).all(1) & (uv[:, 0] < camera.width) & (uv[:, 1] < camera.height)
    seen = depth[uv[inside, 1], uv[inside, 0]]
    result = np.zeros(len(points), bool)
    result[inside] = (seen == 0) | (cam[inside, 2] <= seen + margin)
    return result


def sample_points(mesh: Mesh, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Points (N,3) spread evenly over a mesh, about one a square of side `spacing` metres."""
    return sample_faces(mesh, spacing, rng)[0]


def sample_faces(mesh: Mesh, spacing: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (N,3) as `sample_points`, and the triangle (N,) that each lies on."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    # the running sum of areas crosses a grid with a random start: even over many small triangles
    ends = np.cumsum(area) / spacing**2 + rng.random()
    counts = np.diff(np.floor(np.r_[0, ends]).astype(int))
    face = np.repeat(np.arange(len(area)), counts)
    u, v = rng.random((2, len(face), 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[face] + u * (b[face] - a[face]) + v * (c[face] - a[face]), face
