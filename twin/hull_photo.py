"""Space carving: a hull shrinks where pictures that see the same place disagree about its colour.

Source: Kutulakos and Seitz, A Theory of Shape by Space Carving, 2000; here the surface recedes as a whole, a part of a
voxel a sweep, and visibility is drawn anew from the surface in every sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numba import njit
from scipy.sparse import coo_matrix

from twin.errors import TwinError
from twin.hull_color import look_up, vertex_normals
from twin.hull_kernel import UNIT, UNKNOWN
from twin.hull_outlines import Outlines
from twin.mesh import Mesh
from twin.surface import extract_surface
from twin.tsdf_blocks import SIDE, Blocks, find

SQUARE = 0.35  # cosine from which a picture has a say
INSIDE = 1.5  # pixels from the outline from which a pixel's colour is the thing's alone
HOLD = 3  # wrong places that one right place outweighs among its neighbours
STEP = 0.5  # voxels that the surface recedes in a sweep


@njit(cache=True, nogil=True)
def _poll(keys, values, vertices, verdicts, votes):
    """Add the verdicts (N,) of vertices (N,3), given in voxels, to `votes` (count,512) of the voxels around each."""
    for n in range(len(vertices)):
        if verdicts[n] == 0:
            continue
        x, y, z = int(np.round(vertices[n, 0])), int(np.round(vertices[n, 1])), int(np.round(vertices[n, 2]))
        for i in range(x - 1, x + 2):
            for j in range(y - 1, y + 2):
                for k in range(z - 1, z + 2):
                    block = find(keys, values, i >> 3, j >> 3, k >> 3)
                    if block >= 0:
                        votes[block, ((i & 7) * SIDE + (j & 7)) * SIDE + (k & 7)] += verdicts[n]


def disagreement(mesh: Mesh, outlines: Outlines, min_views: int = 3) -> np.ndarray:
    """Grey levels (root mean square over pictures, the worst channel) by which colours at each vertex differ, (V,).

    NaN where fewer than `min_views` pictures see it well. Light and exposure are taken to be the same in all.
    """
    normals = vertex_normals(mesh)
    count = np.zeros(len(mesh.vertices))
    total = np.zeros((len(mesh.vertices), 3))
    square = np.zeros((len(mesh.vertices), 3))
    for view in range(len(outlines.sizes)):
        color, cosine = look_up(mesh, normals, outlines, view)
        sees = cosine > SQUARE
        count += sees
        total += np.where(sees[:, None], color, 0)
        square += np.where(sees[:, None], color * color, 0)
    n = np.maximum(count, 1)[:, None]
    spread = np.sqrt(np.maximum(square / n - (total / n) ** 2, 0)).max(1)
    return np.where(count >= min_views, spread, np.nan)


def among_neighbours(mesh: Mesh, values: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Means over neighbouring vertices, `rounds` edges wide, (V,); NaN are left out and filled in.

    A single vertex at the border of two colours disagrees with itself by half a pixel; a wrong place disagrees as a
    whole.
    """
    f, n = mesh.faces, len(mesh.vertices)
    ends = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]], np.repeat(np.arange(n)[:, None], 2, 1)]).T
    links = coo_matrix((np.ones(ends.shape[1]), ends), (n, n)).tocsr()
    links = links + links.T
    links.data[:] = 1
    for _ in range(rounds):
        known = np.isfinite(values)
        count = links @ known.astype(float)
        mean = links @ np.where(known, values, 0.0) / np.maximum(count, 1)
        values = np.where(count > 0, mean, np.nan)
    return values


def carve_inconsistent(
    blocks: Blocks, outlines: Outlines, tolerance: float, measure: Callable[[int], None], sweeps: int = 80
) -> None:
    """Move the surface inwards where pictures disagree by more than `tolerance` grey levels, until they agree.

    Args:
        measure: fills in the outlines' distances of the blocks from a number on.
        sweeps: at most so many; each costs an extraction and one look into every picture.
    """
    steady = _well_inside(outlines)
    for _ in range(sweeps):
        try:
            mesh = extract_surface(blocks)
        except TwinError:
            return  # nothing is left
        apart = disagreement(mesh, steady)
        wrong = (apart > tolerance) & (among_neighbours(mesh, apart) > tolerance)
        if wrong.sum() < 1e-3 * len(wrong):
            return
        # Right places hold their neighbours back, else every hole would widen sweep by sweep.
        verdicts = np.where(wrong, 1, np.where(np.isfinite(apart), -HOLD, 0)).astype(np.int32)
        places = mesh.vertices / blocks.voxel
        offsets = 3 * (np.indices((3, 3, 3)).reshape(3, -1).T - 1)
        around = np.concatenate([places[wrong] + offset for offset in offsets])
        first = blocks.count
        blocks.add(np.unique(np.floor(around / SIDE).astype(np.int64), axis=0))
        measure(first)
        votes = np.zeros((blocks.count, SIDE**3), np.int32)
        _poll(blocks.keys, blocks.values, places, verdicts, votes)
        if not (votes > 0).any():
            return
        blocks.distance[: blocks.count] += np.where(votes > 0, np.float32(STEP * blocks.voxel), np.float32(0))


def _well_inside(outlines: Outlines) -> Outlines:
    """Pictures a little blurred, that say nothing near their outlines, where the background shines in."""
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in outlines.images])
    fields = outlines.fields.copy()
    fields[fields < INSIDE * UNIT] = UNKNOWN
    return replace(outlines, images=images, fields=fields)
