"""Pictures of a twin from any camera, and how they differ from what the camera saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from twin.mesh import Mesh
from twin.scene import Scene
from urdf import Robot

SHADED = 0.45  # of a surface without colours of its own that turns away from the camera: how dark it is


@dataclass(frozen=True, eq=False)
class Drawn:
    """image: (H,W,3) uint8 RGB, 0 where nothing is; depth: (H,W) float32 metres along z, 0 where nothing is."""

    image: np.ndarray
    depth: np.ndarray


def draw(meshes: Sequence[Mesh], camera: Camera) -> Drawn:
    """Draw meshes that lie in the base frame, with their own colours or textures and no light.

    Colours run evenly over each triangle in space (perspective-correct; Heckbert and Moreton, 1991). Lens distortion
    is drawn, long edges as chords.
    """
    size = (camera.height, camera.width)
    image, depth = np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32)
    for mesh in meshes:
        one = _draw_one(mesh, camera)
        nearer = (one.depth > 0) & ((depth == 0) | (one.depth < depth))
        image[nearer], depth[nearer] = one.image[nearer], one.depth[nearer]
    return Drawn(image, depth)


def _draw_one(mesh: Mesh, camera: Camera) -> Drawn:
    T = np.asarray(camera.T_cam_base, float)
    points = mesh.vertices @ T[:3, :3].T + T[:3, 3]
    inv_z = inverse_depth(points[:, 2])
    uv = camera.project(np.column_stack([points[:, :2], np.where(inv_z > 0, points[:, 2], 1)]))
    face, inverse = rasterize(uv.astype(np.float32), inv_z, mesh.faces, camera.height, camera.width)
    rows, columns = np.nonzero(face >= 0)
    image = np.zeros((*face.shape, 3), np.uint8)
    corners = mesh.faces[face[rows, columns]]
    weights = corner_shares(uv[corners], inv_z[corners], np.column_stack([columns, rows]))
    if mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        u, v = np.einsum("pc,pck->pk", weights, mesh.uv[corners]).T
        at = np.clip(((1 - v) * height).astype(int), 0, height - 1), np.clip((u * width).astype(int), 0, width - 1)
        image[rows, columns] = mesh.texture[at]
    elif mesh.colors is not None:
        mixed = np.einsum("pc,pck->pk", weights, mesh.colors[corners].astype(float))
        image[rows, columns] = np.clip(np.round(mixed), 0, 255)
    else:
        image[rows, columns] = 150
    depth = np.where(inverse > 0, 1 / np.maximum(inverse, 1e-9), 0).astype(np.float32)
    return Drawn(image, depth)


def corner_shares(corners: np.ndarray, inv_z: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(P,3) shares of the corners (P,3,2) in pixels (P,2), even in space."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    d, e, p = b - a, c - a, at - a
    area = d[:, 0] * e[:, 1] - d[:, 1] * e[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    second = (p[:, 0] * e[:, 1] - p[:, 1] * e[:, 0]) / area
    third = (d[:, 0] * p[:, 1] - d[:, 1] * p[:, 0]) / area
    flat = np.clip(np.column_stack([1 - second - third, second, third]), 0, 1)
    share = flat * inv_z
    return share / np.maximum(share.sum(1, keepdims=True), 1e-12)


def scene_meshes(scene: Scene, robot: Robot | None = None, q: np.ndarray | None = None, eye=None) -> list[Mesh]:
    """The scene's surfaces in the base frame; the robot at joints q (n,), shaded as seen from `eye` (3,)."""
    meshes = [] if scene.background is None else [scene.background]
    meshes += [body.visual.transformed(np.asarray(body.T_base_body, float)) for body in scene.bodies]
    if robot is not None and q is not None:
        meshes.append(robot_mesh(robot, q, eye))
    return meshes


def robot_mesh(robot: Robot, q: np.ndarray, eye: np.ndarray | None = None) -> Mesh:
    """The robot at joints q (n,) in the base frame; faces that turn away from `eye` are darker."""
    mesh = robot.mesh
    T = robot.link_poses(np.asarray(q, float))[mesh.vertex_link]
    points = np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3]
    corners = points[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    ray = (np.array([1.0, 0, 2.0]) if eye is None else np.asarray(eye, float)) - corners.mean(1)
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-12)
    light = SHADED + (1 - SHADED) * np.abs(np.einsum("ij,ij->i", normal, ray))
    color = np.clip(mesh.face_color * 255 * light[:, None], 0, 255).round().astype(np.uint8)
    faces = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return Mesh(corners.reshape(-1, 3), faces, np.repeat(color, 3, axis=0))


def difference(picture: np.ndarray, drawn: Drawn) -> tuple[np.ndarray, float, float]:
    """Where a twin looks unlike the picture (H,W,3).

    Returns:
        A map (H,W,3) from black (alike) to yellow, grey where the twin shows nothing; the median difference in grey
        levels, NaN where the twin shows nothing at all; the part of the picture that the twin covers.
    """
    apart = np.abs(picture.astype(np.int16) - drawn.image.astype(np.int16)).mean(-1)
    covered = drawn.depth > 0
    shown = cv2.applyColorMap(np.clip(apart * 2, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].copy()
    shown[~covered] = 90
    return shown, float(np.median(apart[covered])) if covered.any() else float("nan"), float(covered.mean())


def looking(eye: Sequence[float], target: Sequence[float], size: tuple[int, int], focal: float) -> Camera:
    """A camera (width, height; focal length in pixels) at `eye` that looks at `target`, upright; base frame."""
    at = np.asarray(eye, float)
    z = np.asarray(target, float) - at
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ at
    return Camera.from_focal(*size, focal, T)
