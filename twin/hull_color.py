"""Colours of a surface from the pictures that see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pose.raster import inverse_depth, rasterize
from twin.hull_kernel import UNKNOWN
from twin.hull_outlines import Outlines
from twin.mesh import Mesh

SEEN = 0.02  # part of the depth by which a point may lie behind the drawn surface and still be the surface


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """(V,3) unit normals, means of the faces around by area; zero where a vertex has no face with an area."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    across = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(mesh.faces.ravel(), np.repeat(across[:, k], 3), len(mesh.vertices)) for k in range(3)], -1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)


def look_up(mesh: Mesh, normals: np.ndarray, outlines: Outlines, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour (V,3) float32 of every vertex in one picture, and how squarely it is seen (V,): 0 where it is not."""
    height, width = outlines.sizes[view, :2]
    K, T = outlines.K[view], outlines.T_cam_base[view]
    points = mesh.vertices @ T[:3, :3].T + T[:3, 3]
    nearness = inverse_depth(points[:, 2])
    at = (points @ K.T)[:, :2] * np.where(nearness > 0, nearness, 1)[:, None]
    drawn = rasterize(at[None], nearness[None], mesh.faces, int(height), int(width))[1][0]
    u, v = np.round(at).astype(np.int64).T
    inside = (nearness > 0) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    eye = -T[:3, :3].T @ T[:3, 3]
    ray = eye - mesh.vertices
    square = np.einsum("ij,ij->i", normals, ray) / np.maximum(np.linalg.norm(ray, axis=1), 1e-12)
    seen = inside & (nearness >= (1 - SEEN) * drawn[v, u]) & (square > 0.1) & (outlines.fields[view, v, u] != UNKNOWN)
    return outlines.images[view, v, u].astype(np.float32), np.where(seen, square, 0).astype(np.float32)


def color_surface(mesh: Mesh, outlines: Outlines) -> Mesh:
    """The mesh with the mean colour of the pictures that see each vertex, those that look squarely at it first.

    Vertices that no picture sees take the mean colour of the others.
    """
    normals = vertex_normals(mesh)
    total = np.zeros((len(mesh.vertices), 3))
    weight = np.zeros(len(mesh.vertices))
    for view in range(len(outlines.sizes)):
        color, square = look_up(mesh, normals, outlines, view)
        share = square.astype(float) ** 4
        total += share[:, None] * color
        weight += share
    seen = weight > 0
    if not seen.any():
        return replace(mesh, colors=np.full((len(mesh.vertices), 3), 128, np.uint8))
    colors = np.full((len(mesh.vertices), 3), total[seen].sum(0) / weight[seen].sum())
    colors[seen] = total[seen] / weight[seen, None]
    return replace(mesh, colors=np.round(colors).astype(np.uint8))
