"""What stands on a plane, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from twin.mesh import Mesh
from twin.planes import Plane
from twin.surface import areas


@dataclass(frozen=True)
class ClusterSettings:
    """What counts as a thing of its own; metres and m2.

    Attributes:
        clearance: surface lower than this above the plane is the plane's.
        gap: pieces nearer than this are one thing.
        lift: a thing's lowest surface may be this high (its foot may be hidden).
        low: height that a quarter of its surface exceeds; high: most size along any axis.
        min_area: least surface.
        reach: farthest from the base, in x and y.
    """

    clearance: float = 0.008
    gap: float = 0.012
    lift: float = 0.05
    low: float = 0.015
    high: float = 0.6
    min_area: float = 1.5e-3
    reach: float = 1.5


def cut_faces(mesh: Mesh, keep: np.ndarray) -> Mesh:
    """The mesh with the triangles (F,) bool alone, and the vertices they use."""
    faces = mesh.faces[keep]
    used, index = np.unique(faces, return_inverse=True)
    colors = None if mesh.colors is None else mesh.colors[used]
    return Mesh(mesh.vertices[used], index.reshape(-1, 3).astype(np.int32), colors)


def find_clusters(
    mesh: Mesh, plane: Plane, free: np.ndarray, settings: ClusterSettings, keep_out: np.ndarray | None = None
) -> list[np.ndarray]:
    """Triangles of each thing on the plane.

    Args:
        mesh: in the base frame. free: (F,) bool, triangles that belong to nothing yet.
        keep_out: (N,3) points; what lies mostly within two centimetres of them is left out (remains of the robot).

    Returns:
        For each thing the rows (K,) of its triangles, the largest surface first.
    """
    s = settings
    middle = mesh.vertices[mesh.faces].mean(1)
    height = plane.height(middle)
    above = free & (height > s.clearance) & (height < s.high + s.lift) & (np.hypot(*middle[:, :2].T) < s.reach)
    rows = np.flatnonzero(above)
    rows = rows[plane.below(middle[rows, :2], margin=s.gap)]
    if not len(rows):
        return []
    label = _pieces(middle[rows], s.gap)
    area = areas(mesh)
    tree = cKDTree(keep_out) if keep_out is not None and len(keep_out) else None
    things = []
    for piece in range(label.max() + 1):
        own = rows[label == piece]
        points = mesh.vertices[np.unique(mesh.faces[own])]
        size = np.ptp(points, axis=0)
        if area[own].sum() < s.min_area or size.max() > s.high or height[own].min() > s.lift:
            continue
        if np.percentile(height[own], 75) < s.low:
            continue
        if tree is not None and (tree.query(points, distance_upper_bound=0.02)[0] < 0.02).mean() > 0.5:
            continue
        things.append(own)
    return sorted(things, key=lambda own: -area[own].sum())


def _pieces(points: np.ndarray, gap: float) -> np.ndarray:
    """(N,) number of the piece of each point; points nearer than `gap` are in one piece."""
    # one point a cell of a third of the gap is enough, and keeps pairs few
    cell, own = np.unique(np.floor(points / (gap / 3)).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cell * (gap / 3)).query_pairs(gap, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (len(cell), len(cell)))
    return connected_components(links, directed=False)[1][own.reshape(-1)]
