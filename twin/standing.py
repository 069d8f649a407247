"""Things stand: a body whose underside was made up must rest on its plane where its weight is.

Outlines say little of what is near the plane: a hull of them may end above it, or meet it in a point. Then the body's
lowest section that can carry it is taken down to the plane.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import ConvexHull, QhullError

from twin.collision import convex_hull
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.planes import Plane

HIGHEST = 0.5  # of the body's height: where a section that carries it is looked for
TOUCHES = 0.0015  # metres above the plane
STEP = 0.003  # metres
MARGIN = 0.15  # of a section's width by which the weight must lie inside it


def stood(distance: np.ndarray, origin: np.ndarray, voxel: float, plane: Plane) -> np.ndarray:
    """Signed distances of a body that stands; the same where it does already, or where no section carries it.

    Args:
        distance: (X,Y,Z) at the points of a grid, negative inside. origin: (3,) of point 0, base frame, metres.
        plane: what it stands on.
    """
    index = np.stack(np.nonzero(distance < 0), 1)
    if len(index) < 8:
        return distance
    inside = origin + voxel * index
    heights = plane.height(inside)
    along = np.linalg.svd(plane.normal[None])[2][1:]  # two directions in the plane
    flat = inside @ along.T
    weight = flat.mean(0)
    for height in np.arange(1.0, HIGHEST * heights.max() / voxel) * voxel:
        if _carries(flat[heights < height], weight):
            break
    else:
        return distance
    if height == voxel:
        return distance
    every = np.stack(np.meshgrid(*(np.arange(n) for n in distance.shape), indexing="ij"), -1).reshape(-1, 3)
    up = plane.height(origin + voxel * every)
    below = (up >= 0) & (up < height)
    filled = distance.copy().reshape(-1)
    # as far inside as the nearest section over it: sections up to the one that carries all count
    for level in np.arange(1.0, height / voxel + 1) * voxel:
        part = below & (up < level)
        over = every[part] + ((level - up[part]) / voxel)[:, None] * plane.normal
        filled[part] = np.minimum(filled[part], map_coordinates(distance, over.T, order=1, mode="nearest"))
    return np.maximum(filled.reshape(distance.shape), np.where(up >= 0, -np.inf, -up).reshape(distance.shape))


def with_sole(pieces: tuple[Mesh, ...], visual: Mesh, center: np.ndarray, vertices: int = 48) -> tuple[Mesh, ...]:
    """Convex pieces that stand: where theirs do not reach the plane under the weight, one more does.

    Simplified pieces end above the plane by some millimetres here and there: the body would drop, or fall over.

    Args:
        pieces, visual: of a body whose plane is z = 0. center: (3,) of its mass.
        vertices: of a piece, at most about.
    """
    corners = np.concatenate([piece.vertices for piece in pieces])
    if _carries(corners[corners[:, 2] < TOUCHES, :2], center[:2]):
        return pieces
    top = HIGHEST * float(visual.vertices[:, 2].max())
    for height in np.arange(STEP, top + STEP, STEP):
        low = visual.vertices[visual.vertices[:, 2] < height]
        if _carries(low[:, :2], center[:2]):
            ground, lid = (np.column_stack([low[:, :2], np.full(len(low), z)]) for z in (0.0, STEP))
            try:
                return (*pieces, convex_hull(_cloud(np.concatenate([low, ground, lid])), vertices))
            except TwinError:
                return pieces
    return pieces


def _cloud(points: np.ndarray) -> Mesh:
    return Mesh(points, np.arange(len(points), dtype=np.int32).reshape(-1, 3))


def _carries(section: np.ndarray, weight: np.ndarray) -> bool:
    """Whether points (N,2) have the weight (2,) well inside their outline."""
    if len(section) < 3:
        return False
    try:
        hull = ConvexHull(section)
    except QhullError:
        return False
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2]
    width = -(section @ normals.T + offsets).min(0)
    return bool((-(normals @ weight + offsets) >= MARGIN * width).all())
