"""Fewer triangles where nothing happens: a surface far from the robot, on a wider grid."""

from __future__ import annotations

import numpy as np

from twin.mesh import Mesh

NEAR = 1.7  # metres from the base's axis: what a robot on a table reaches and its surroundings
CELL = 0.02  # metres


def coarsen_far(mesh: Mesh, near: float = NEAR, cell: float = CELL) -> Mesh:
    """The mesh with the vertices farther than `near` metres from the z axis merged by cells of `cell` metres.

    Source: vertex clustering (Rossignac and Borrel, 1993); a cell's vertex is the mean of its own, colour too.
    Triangles that shrink to nothing go, and of several with the same corners one stays.
    """
    far = np.hypot(*mesh.vertices[:, :2].T) > near
    if not far.any() or mesh.uv is not None:
        return mesh
    keys = np.floor(mesh.vertices[far] / cell).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    label = np.arange(len(mesh.vertices))
    label[far] = len(mesh.vertices) + group.reshape(-1)
    kept, index = np.unique(label, return_inverse=True)
    index = index.reshape(-1)
    share = np.bincount(index, minlength=len(kept))[:, None]

    def mean(values: np.ndarray) -> np.ndarray:
        sums = [np.bincount(index, values[:, k], len(kept)) for k in range(values.shape[1])]
        return np.stack(sums, -1) / share

    faces = index[mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    first = faces.argmin(1)
    turned = faces[np.arange(len(faces))[:, None], (first[:, None] + np.arange(3)) % 3]
    turned = np.unique(turned, axis=0)
    used, renamed = np.unique(turned, return_inverse=True)
    colors = None if mesh.colors is None else mean(mesh.colors.astype(float)).round().astype(np.uint8)[used]
    return Mesh(mean(mesh.vertices)[used], renamed.reshape(-1, 3).astype(np.int32), colors)
