"""Shaded colour pictures of a robot in a scene: training data, the demo's sample episode, figures.

Directional lights with soft shadows, light from the surroundings (diffuse and mirrored), GGX highlights,
smooth
normals, textures by box mapping. Believable enough to train a segmenter on; no global illumination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np

from pose.camera import Camera
from pose.errors import CameraError
from pose.raster import inverse_depth, rasterize
from pose.shading_kernel import LINEAR, corner_normals, shade

if TYPE_CHECKING:
    from urdf import Robot, RobotMesh

SKY = 48  # side of the octahedral maps of the surroundings
SHADOW = 640  # side of a light's depth map


@dataclass(frozen=True)
class Material:
    """Colour in sRGB 0..1, roughness and metalness 0..1, and optionally a repeating texture of
    `texture_size` metres."""

    color: tuple[float, float, float] = (0.7, 0.7, 0.7)
    roughness: float = 0.5
    metalness: float = 0.0
    texture: np.ndarray | None = field(default=None, repr=False, compare=False)  # uint8 (h,w,3)
    texture_size: float = 0.5


@dataclass(frozen=True, eq=False)
class Prop:
    """A still object: vertices (V,3) in metres, faces (F,3), a material, optionally colours (F,3) sRGB 0..1
    a face.

    `T_base_prop` (4,4) places it in the base frame (None: it stands there already). Props hide the robot,
    cast
    shadows, and count as background in the part mask.
    """

    vertices: np.ndarray
    faces: np.ndarray
    material: Material = Material()
    T_base_prop: np.ndarray | None = None
    face_color: np.ndarray | None = None
    crease_degrees: float = 40.0

    def placed(self, T_base_prop: np.ndarray) -> Prop:
        """The same object elsewhere (its normals are not computed again)."""
        return self._changed(T_base_prop=T_base_prop)

    def dressed(self, material: Material) -> Prop:
        """The same object in another material (its normals are not computed again)."""
        return self._changed(material=material)

    def _changed(self, **change: Any) -> Prop:
        changed = replace(self, **change)
        _keep(changed, _normals_of(self, self.vertices, self.faces, None, self.crease_degrees))
        return changed


@dataclass(frozen=True)
class Light:
    """A directional light. `direction` points towards it in the base frame; `color` is what a white, matt
    surface
    that faces it returns; `softness` is the tangent of its half-width (0.02 sun, 0.3 lamp)."""

    direction: tuple[float, float, float] = (0.4, -0.5, 0.9)
    color: tuple[float, float, float] = (0.8, 0.78, 0.75)
    softness: float = 0.05


@dataclass(frozen=True)
class Look:
    """Replaces the robot's own surface: colours (F,3) sRGB 0..1, roughness and metalness (F,), for every
    mesh face."""

    face_color: np.ndarray
    roughness: np.ndarray
    metalness: np.ndarray


@dataclass(frozen=True)
class ColorImage:
    """rgb (H,W,3) uint8; part (H,W) uint8: 0 background, 1 arm, 2 gripper; depth (H,W) float32 in metres, 0
    = none."""

    rgb: np.ndarray
    part: np.ndarray
    depth: np.ndarray


DEFAULT_LIGHTS = (Light(), Light((-0.3, 0.2, 1.0), (0.35, 0.36, 0.4), 0.6))

_NORMALS: dict[int, np.ndarray] = {}  # by identity of the mesh or prop, dropped with it


def _keep(owner: Any, normals: np.ndarray) -> np.ndarray:
    _NORMALS[id(owner)] = normals
    finalize(owner, _NORMALS.pop, id(owner), None)
    return normals


def _normals_of(
    owner: Any, vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None, crease: float
) -> np.ndarray:
    known = _NORMALS.get(id(owner))
    return _keep(owner, smooth_normals(vertices, faces, groups, crease)) if known is None else known


def smooth_normals(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None, crease_degrees: float
) -> np.ndarray:
    """Normals (F,3,3) of the corners of every face; vertices at one place (and of one group) are taken as
    one."""
    key = np.round(vertices.astype(np.float64) * 2e4).astype(np.int64)
    if groups is not None:
        key = np.column_stack([key, groups])
    merged = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)[faces].astype(np.int32)
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    unit = cross / np.maximum(area, 1e-20)[:, None]
    order = np.argsort(merged.reshape(-1), kind="stable")
    first = np.searchsorted(merged.reshape(-1)[order], np.arange(merged.max(initial=0) + 2))
    return corner_normals(unit, area, (order // 3).astype(np.int32), first, merged, np.cos(np.radians(crease_degrees)))


@cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Directions (SKY*SKY,3) and solid angles of the octahedral map's cells."""
    u = (np.arange(SKY) + 0.5) / SKY * 2 - 1
    x, y = np.meshgrid(u, u)
    z = 1 - abs(x) - abs(y)
    fold = z < 0
    fx = np.where(fold, (1 - abs(y)) * np.where(x >= 0, 1, -1), x)
    fy = np.where(fold, (1 - abs(x)) * np.where(y >= 0, 1, -1), y)
    d = np.stack([fx, fy, z], -1).reshape(-1, 3)
    length = np.linalg.norm(d, axis=1)
    return (d / length[:, None]).astype(np.float32), (1 / length**3).astype(np.float32)


@cache
def _blurs() -> tuple[np.ndarray, ...]:
    """Matrices that blur a map of the surroundings: two mirror lobes and the cosine of diffuse light."""
    d, weight = _directions()
    cosine = np.maximum(d @ d.T, 0)
    lobes = [cosine**power * weight for power in (60, 8, 1)]
    return tuple((lobe / lobe.sum(1, keepdims=True)).astype(np.float32) for lobe in lobes)


def surroundings(radiance: np.ndarray, turn: float = 0.0) -> np.ndarray:
    """Maps (4,S,S,3) for `render_color(surroundings=)` from an equirectangular radiance image.

    Args:
        radiance: (h,w,3) linear light; the top row is straight up (+z of the base), the middle column faces
        +x.
        turn: radians about z.
    """
    d, _ = _directions()
    h, w = radiance.shape[:2]
    if h > 2 * SKY:  # average first, so that no lamp falls between the samples
        step = h // SKY
        radiance = (
            radiance[: h // step * step, : w // step * step].reshape(h // step, step, w // step, step, 3).mean((1, 3))
        )
        h, w = radiance.shape[:2]
    row = np.arccos(np.clip(d[:, 2], -1, 1)) / np.pi * h
    col = (np.arctan2(d[:, 1], d[:, 0]) + turn) / (2 * np.pi) * w + w / 2
    sharp = radiance[np.clip(row.astype(int), 0, h - 1), col.astype(int) % w].astype(np.float32)
    return np.stack([sharp, *(blur @ sharp for blur in _blurs())]).reshape(4, SKY, SKY, 3)


@cache
def plain_room(sky: float = 0.55, wall: float = 0.45, floor: float = 0.25) -> np.ndarray:
    """Surroundings of a plain bright room: ceiling with two lamps, walls, a window, floor."""
    h, w = 48, 96
    image = np.full((h, w, 3), wall, np.float32)
    image[: h // 3] = sky
    image[h * 3 // 5 :] = floor
    image[4:9, 10:30] = image[5:10, 58:78] = 3.0
    image[16:26, 40:50] = (1.5, 1.6, 1.8)
    return surroundings(image)


def _light_frame(direction: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """World -> shadow map (3,4): column, row and nearness (metres, > 0) seen from the light; metres a
    texel."""
    z = direction / np.linalg.norm(direction)
    x = np.cross(z, [0.0, 0.0, 1.0] if abs(z[2]) < 0.9 else [1.0, 0.0, 0.0])
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    p = points @ R.T
    low, high = p.min(0), p.max(0)
    texel = max(float((high - low)[:2].max()) / (SHADOW - 8), 1e-6)
    frame = np.zeros((3, 4))
    frame[:2, :3], frame[:2, 3] = R[:2] / texel, -low[:2] / texel + 4
    frame[2, :3], frame[2, 3] = R[2], 1 - low[2]
    return frame, texel


def _robot_part(mesh: RobotMesh, poses: np.ndarray, look: Look | None) -> dict[str, np.ndarray]:
    smooth = _normals_of(mesh, mesh.vertices, mesh.faces, mesh.vertex_link, 45.0)
    R, t = poses[:, :3, :3].astype(np.float32), poses[:, :3, 3].astype(np.float32)
    points = np.einsum("vij,vj->vi", R[mesh.vertex_link], mesh.vertices) + t[mesh.vertex_link]
    normals = np.einsum("fij,fkj->fki", R[mesh.face_link], smooth)
    F = len(mesh.faces)
    color = mesh.face_color if look is None else look.face_color
    rough = np.full(F, 0.35) if look is None else look.roughness
    metal = np.zeros(F) if look is None else look.metalness
    return {
        "points": points, "local": mesh.vertices, "faces": mesh.faces, "normals": normals,
        "color": color, "surface": np.column_stack([rough, metal]), "texture": np.full(F, -1),
    }  # fmt: skip


def _prop_part(prop: Prop, texture: int) -> dict[str, np.ndarray]:
    points = prop.vertices
    normals = _normals_of(prop, prop.vertices, prop.faces, None, prop.crease_degrees)
    if prop.T_base_prop is not None:
        T = np.asarray(prop.T_base_prop)
        points, normals = points @ T[:3, :3].T + T[:3, 3], normals @ T[:3, :3].T
    F = len(prop.faces)
    color = np.broadcast_to(prop.material.color, (F, 3)) if prop.face_color is None else prop.face_color
    surface = np.broadcast_to((prop.material.roughness, prop.material.metalness), (F, 2))
    return {
        "points": points, "local": prop.vertices, "faces": prop.faces, "normals": normals,
        "color": color, "surface": surface, "texture": np.full(F, texture),
    }  # fmt: skip


def _pack_textures(scene: Sequence[Prop]) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
    """Index of every prop's texture, all texels in one array, (start, height, width) and size in metres of
    each."""
    index: list[int] = []
    texels: list[np.ndarray] = []
    table: list[tuple[int, ...]] = []
    sizes: list[float] = []
    start = 0
    for prop in scene:
        image = prop.material.texture
        index.append(-1 if image is None else len(table))
        if image is not None:
            texels.append(np.ascontiguousarray(image[..., :3], np.uint8).reshape(-1, 3))
            table.append((start, *image.shape[:2]))
            sizes.append(prop.material.texture_size)
            start += len(texels[-1])
    flat = np.concatenate(texels) if texels else np.zeros((1, 3), np.uint8)
    return index, flat, np.array(table or [(0, 1, 1)], np.int64), np.array(sizes or [1.0], np.float32)


def render_color(
    robot: Robot | None,
    q: np.ndarray | None,
    camera: Camera,
    *,
    scene: Sequence[Prop] = (),
    lights: Sequence[Light] = DEFAULT_LIGHTS,
    surroundings: np.ndarray | None = None,
    background: np.ndarray | None = None,
    look: Look | None = None,
    mesh: RobotMesh | None = None,
    exposure: float | None = None,
    supersample: int = 2,
) -> ColorImage:
    """Draw a robot among props.

    Args:
        robot: None draws the props alone. q: (n,) joint angles, radians or metres.
        camera: needs `T_cam_base`; lens distortion is drawn (long straight edges as chords).
        scene: tables, walls, objects; give large ones enough triangles: one that reaches behind the camera
        is dropped.
        lights: directional lights, each with its shadows.
        surroundings: maps of `surroundings()`; default a plain bright room.
        background: (H,W,3) uint8 behind everything; default light grey.
        look: other colours and surfaces for the robot; `mesh` another mesh than `robot.display_mesh`.
        exposure: factor on linear light before the sRGB curve; None sets the 90th percentile to 0.75.
        supersample: samples a pixel side.

    Raises:
        CameraError: the camera has no pose.
    """
    if camera.T_cam_base is None:
        raise CameraError("render_color: the camera has no T_cam_base; give one")
    T = np.asarray(camera.T_cam_base, float)
    index, texels, textures, texture_size = _pack_textures(scene)
    parts = [_prop_part(prop, i) for prop, i in zip(scene, index)]
    labels = [np.zeros(len(p["faces"]), np.uint8) for p in parts]
    if robot is not None:
        mesh = robot.display_mesh if mesh is None else mesh
        if q is None:
            raise ValueError("render_color: a robot needs q, its joint angles")
        parts.append(_robot_part(mesh, robot.link_poses(np.asarray(q, float)), look))
        gripper = np.array([part == "gripper" for part in robot.link_parts])
        labels.append((1 + gripper[mesh.face_link]).astype(np.uint8))
    H, W, s = camera.height, camera.width, supersample
    back = np.full((1, 1, 3), 200, np.uint8) if background is None else background
    if not parts:
        return ColorImage(
            np.broadcast_to(back, (H, W, 3)).copy(), np.zeros((H, W), np.uint8), np.zeros((H, W), np.float32)
        )

    counts = np.cumsum([0] + [len(p["points"]) for p in parts])
    faces = np.concatenate([p["faces"] + n for p, n in zip(parts, counts)]).astype(np.int32)
    both = {
        k: np.ascontiguousarray(np.concatenate([p[k] for p in parts]), np.float32)
        for k in ("points", "local", "normals", "surface", "color")
    }
    points = both["points"]
    color = both["color"] ** np.float32(2.2)
    texture = np.concatenate([p["texture"] for p in parts]).astype(np.int32)

    cam = points @ T[:3, :3].T + T[:3, 3]
    inv_z = inverse_depth(cam[:, 2])
    uv = camera.project(np.column_stack([cam[:, :2], np.where(inv_z > 0, cam[:, 2], 1)])).astype(np.float32)
    face_id, inv_depth = rasterize(uv, inv_z, faces, H, W, s)

    directions = np.array([light.direction for light in lights], float).reshape(-1, 3)
    frames, shadows, soft, bias = [], [], [], []
    for light, direction in zip(lights, directions):
        frame, texel = _light_frame(direction, points)
        p = points @ frame[:, :3].T + frame[:, 3]
        shadows.append(rasterize(p[:, :2].astype(np.float32), p[:, 2].astype(np.float32), faces, SHADOW, SHADOW)[1])
        frames.append(frame)
        soft.append(np.clip(light.softness * 0.25 / texel, 0.7, 25))  # as if every shadow fell over 25 cm
        bias.append(texel * (1.5 + 0.7 * soft[-1]))
    norm = np.linalg.norm(directions, axis=1, keepdims=True)
    sky = plain_room() if surroundings is None else surroundings
    linear = shade(
        face_id, uv, inv_z, faces, points, both["local"], both["normals"], color, both["surface"], texture,
        texels, textures, texture_size, np.ascontiguousarray(sky, np.float32),
        (directions / norm).astype(np.float32),
        (np.array([light.color for light in lights]).reshape(-1, 3) * np.pi).astype(np.float32),
        np.array(shadows, np.float32).reshape(-1, SHADOW, SHADOW),
        np.array(frames, np.float32).reshape(-1, 3, 4),
        np.array(soft, np.float32), np.array(bias, np.float32),
        (-T[:3, :3].T @ T[:3, 3]).astype(np.float32), LINEAR, s,
    )  # fmt: skip
    hit = face_id >= 0
    if exposure is None:
        sample = linear[hit][:: max(1, int(hit.sum()) // 20000)]
        exposure = 0.75 / max(float(np.percentile(sample.max(1), 90)), 1e-3) if len(sample) else 1.0
    return _develop(linear, face_id, inv_depth, np.concatenate(labels), back, exposure, (H, W, s))


def _develop(
    linear: np.ndarray, face_id: np.ndarray, inv_depth: np.ndarray, label: np.ndarray, back: np.ndarray,
    exposure: float, shape: tuple[int, int, int],
) -> ColorImage:  # fmt: skip
    """Samples to pixels: clip and blend in linear light over the background, majority vote for the parts."""
    H, W, s = shape
    hit = face_id >= 0
    share = hit.reshape(H, s, W, s).mean((1, 3), dtype=np.float32)[..., None]
    mean = np.minimum(linear * np.float32(exposure), 1).reshape(H, s, W, s, 3).mean((1, 3))
    behind = np.broadcast_to(LINEAR[back], (H, W, 3))
    rgb = (mean + behind * (1 - share)) ** np.float32(1 / 2.2) * 255 + 0.5
    parts = np.where(hit, label[face_id], 0).reshape(H, s, W, s)
    gripper, robot = (parts == 2).sum((1, 3)), (parts > 0).sum((1, 3))
    half = s * s / 2
    part = np.where(robot >= max(half, 1), np.where(2 * gripper >= robot, 2, 1), 0).astype(np.uint8)
    near = inv_depth.reshape(H, s, W, s).max((1, 3))
    depth = np.where(near > 0, 1 / np.maximum(near, 1e-9), 0).astype(np.float32)
    return ColorImage(rgb.clip(0, 255).astype(np.uint8), part, depth)
