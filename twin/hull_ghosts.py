"""Pieces of a hull that no picture needs: where the outlines of several things meet, more hulls fit than there are
things ("ghost objects"; Guan et al., "Feature selection and phantom volumes in visual hulls", 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pose.raster import inverse_depth, rasterize
from twin.mesh import Mesh
from twin.observation import Observation

OWN = 0.15  # of a piece's pixels in the masks that no larger piece explains: with fewer it is a ghost


def pieces_of(mesh: Mesh) -> np.ndarray:
    """(F,) number of the connected piece of surface that each triangle belongs to."""
    a, b, c = mesh.faces.T
    count = len(mesh.vertices)
    links = coo_matrix((np.ones(2 * len(a), bool), (np.r_[a, b], np.r_[b, c])), (count, count))
    label = connected_components(links, directed=False)[1][a]
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def without_ghosts(mesh: Mesh, views: Sequence[Observation], own: float = OWN) -> tuple[Mesh, int]:
    """The hull without pieces that explain nothing in the masks that the other pieces do not.

    Pieces are taken one by one, that first which explains most pixels of the masks that are not explained yet (greedy
    set cover; Chvatal, 1979); what is left when the next would explain less than a part `own` of its own pixels goes.

    Args:
        mesh: closed pieces in the base frame, see `carve_hull`. views: those it was carved from, with masks.

    Returns:
        The mesh, and how many pieces are gone.
    """
    label = pieces_of(mesh)
    count = int(label.max()) + 1 if len(label) else 0
    shown = [_pixels(mesh, label == n, views) for n in range(count)]
    explained = np.zeros(sum(v.image.shape[0] * v.image.shape[1] for v in views), bool)
    left, kept = set(range(count)), []
    while left:
        gain = {n: int((~explained[shown[n]]).sum()) for n in left}
        best = max(left, key=lambda n: gain[n])
        if gain[best] == 0:
            break
        left.remove(best)
        if gain[best] < own * len(shown[best]):
            continue
        kept.append(best)
        explained[shown[best]] = True
    faces = mesh.faces[np.isin(label, kept)]
    used, index = np.unique(faces, return_inverse=True)
    colors = None if mesh.colors is None else mesh.colors[used]
    return Mesh(mesh.vertices[used], index.reshape(-1, 3).astype(np.int32), colors), count - len(kept)


def _pixels(mesh: Mesh, own: np.ndarray, views: Sequence[Observation]) -> np.ndarray:
    """Numbers of the pixels of all views, one after the other, in which a piece shows and that are in the masks."""
    found, start = [], 0
    for view in views:
        height, width = view.image.shape[:2]
        T = np.asarray(view.camera.T_cam_base, float)
        points = mesh.vertices @ T[:3, :3].T + T[:3, 3]
        inv_z = inverse_depth(points[:, 2])
        uv = view.camera.project(np.column_stack([points[:, :2], np.where(inv_z > 0, points[:, 2], 1)]))
        face = rasterize(uv.astype(np.float32), inv_z, mesh.faces[own], height, width)[0]
        assert view.mask is not None
        asked = view.mask if view.ignore is None else view.mask & ~view.ignore
        found.append(start + np.flatnonzero((face >= 0) & asked))
        start += height * width
    return np.concatenate(found)
