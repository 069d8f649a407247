"""Users' masks of objects, carried from pictures onto the fused surface: what is one thing is told by geometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pose.camera import Camera
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.visible import before_surface, depth_picture

MARGIN = 0.006  # metres behind the nearest surface at which a triangle still counts as seen
Views = Iterable[tuple[Camera, Mapping[str, np.ndarray]]]


def masked_triangles(mesh: Mesh, views: Views) -> dict[str, np.ndarray]:
    """Triangles of each named object: those that most of the pictures which see them show inside its mask.

    A picture without a mask of that name says nothing about it. A triangle that two objects claim goes to the one with
    the larger share of votes.

    Args:
        mesh: fused, in the base frame. views: cameras (placed, without distortion) with masks (H,W) bool by name.

    Returns:
        (F,) bool by name, names in the order in which they came; names without a triangle are left out.

    Raises:
        TwinError: a mask of another size than its camera's pictures, or a camera without T_cam_base.
    """
    middle = mesh.vertices[mesh.faces].mean(1)
    inside: dict[str, np.ndarray] = {}
    asked: dict[str, np.ndarray] = {}
    for camera, masks in views:
        seen, own = _seen_in(mesh, middle, camera, masks)
        for name, rows in own.items():
            inside.setdefault(name, np.zeros(len(middle), np.int32))[rows] += 1
            asked.setdefault(name, np.zeros(len(middle), np.int32))[seen] += 1
    shares = {name: inside[name] / np.maximum(asked[name], 1) for name in inside}
    if not shares:
        return {}
    names = list(shares)
    table = np.stack([shares[name] for name in names])
    best = table.argmax(0)
    found = {name: (best == i) & (table[i] > 0.5) for i, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if rows.any()}


def track_instances(mesh: Mesh, views: Views, overlap: float = 0.5) -> list[dict[str, np.ndarray]]:
    """One set of names for masks that every picture numbers in its own way.

    Two masks of different pictures are one thing when they share more than `overlap` of the triangles that both
    pictures see, of the smaller of them; the best pairs are joined first, and never two masks of one picture.

    Returns:
        For each view its masks under names that hold in all views: instance_0, instance_1, ...
    """
    views = list(views)
    middle = mesh.vertices[mesh.faces].mean(1)
    pieces: list[tuple[int, np.ndarray, np.ndarray]] = []  # view, triangles seen there, triangles in the mask
    for v, (camera, masks) in enumerate(views):
        seen, own = _seen_in(mesh, middle, camera, masks)
        pieces += [(v, seen, own[name]) for name in masks]
    pairs = []
    for i, (v, seen_i, own_i) in enumerate(pieces):
        for j, (w, seen_j, own_j) in enumerate(pieces[:i]):
            both = seen_i & seen_j
            least = min(int((own_i & both).sum()), int((own_j & both).sum()))
            if v != w and least:
                pairs.append(((own_i & own_j).sum() / least, i, j))
    group = list(range(len(pieces)))
    for share, i, j in sorted(pairs, reverse=True):
        members = {pieces[k][0] for k in range(len(pieces)) if group[k] == group[i]}
        others = {pieces[k][0] for k in range(len(pieces)) if group[k] == group[j]}
        if share > overlap and group[i] != group[j] and not members & others:
            group = [group[j] if g == group[i] else g for g in group]
    number = {g: f"instance_{n}" for n, g in enumerate(dict.fromkeys(group))}
    names = iter(number[g] for g in group)
    return [{next(names): mask for mask in masks.values()} for _, masks in views]


def _seen_in(
    mesh: Mesh, middle: np.ndarray, camera: Camera, masks: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(F,) bool: triangles that the camera sees, and by name those of them inside each mask."""
    if camera.T_cam_base is None:
        raise TwinError("masks of objects need a placed camera; this one has no T_cam_base")
    depth = depth_picture((mesh.vertices, mesh.faces), camera)
    seen = before_surface(middle, camera, depth, MARGIN)
    T = np.asarray(camera.T_cam_base, float)
    uv = np.round(camera.project(middle[seen] @ T[:3, :3].T + T[:3, 3])).astype(int)
    own = {}
    for name, mask in masks.items():
        if mask.shape != (camera.height, camera.width):
            raise TwinError(
                f"mask {name}: {mask.shape[1]}x{mask.shape[0]} pixels, the camera has {camera.width}x{camera.height}"
            )
        own[name] = np.zeros(len(middle), bool)
        own[name][np.flatnonzero(seen)[mask[uv[:, 1], uv[:, 0]] > 0]] = True
    return seen, own
