"""A surface cut into charts that lie flat, side by side in one picture: where the colours of a texture go.

Every triangle is laid along the axis that it faces most, so that it shrinks by less than half; triangles that hang
together and face one axis are a chart (polycube maps; Tarini et al., 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from twin.mesh import Mesh

PAD = 2  # pixels between charts: what readers mix beside a chart's edge is its own colour
SMOOTH = 8  # rounds in which neighbours agree about their axis: long edges instead of crumbs
FACING = 0.2  # cosine to its axis that a triangle must have


@dataclass(frozen=True, eq=False)
class Charts:
    """vertices: (N,) number of the mesh's vertex that each of the charts' stands for; at: (N,2) column and row,
    pixel centres at whole numbers; faces: (F,3) int32 into them, in the mesh's order; size: height and width."""

    vertices: np.ndarray
    at: np.ndarray
    faces: np.ndarray
    size: tuple[int, int]


def lay_out(mesh: Mesh, texel: float) -> Charts:
    """Charts of a mesh with `texel` metres a pixel."""
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    beside = _neighbours(mesh.faces)
    axis = _axes(normal, beside)
    pairs = coo_matrix(beside)
    same = axis[pairs.row] == axis[pairs.col]
    links = coo_matrix((np.ones(same.sum(), bool), (pairs.row[same], pairs.col[same])), beside.shape)
    chart = connected_components(links, directed=False)[1]

    keys, index = np.unique(
        np.repeat(chart, 3) * len(mesh.vertices) + mesh.faces.astype(np.int64).ravel(), return_inverse=True
    )
    of, vertices = keys // len(mesh.vertices), keys % len(mesh.vertices)
    side = np.zeros(chart.max() + 1, np.int64)
    side[chart] = axis % 3
    kept = np.array([[1, 2], [2, 0], [0, 1]])[side[of]]
    flat = np.take_along_axis(mesh.vertices[vertices], kept, 1) / texel
    low = np.full((len(side), 2), np.inf)
    high = np.full((len(side), 2), -np.inf)
    np.minimum.at(low, of, flat)
    np.maximum.at(high, of, flat)
    place, size = _pack(np.ceil(high - low).astype(np.int64) + 1 + 2 * PAD)
    at = flat - low[of] + place[of] + PAD
    return Charts(vertices, at, index.reshape(-1, 3).astype(np.int32), size)


def _neighbours(faces: np.ndarray) -> csr_matrix:
    """(F,F) triangles that share an edge."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1).astype(np.int64)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    twin = np.flatnonzero(key[order][1:] == key[order][:-1])
    a, b = order[twin] // 3, order[twin + 1] // 3
    both = (np.r_[a, b], np.r_[b, a])
    return csr_matrix((np.ones(2 * len(a), np.float32), both), (len(faces), len(faces)))


def _axes(normal: np.ndarray, beside: csr_matrix) -> np.ndarray:
    """(F,) x, y, z, -x, -y or -z as 0..5: the one that a triangle and those around it face most."""
    own = np.concatenate([normal, -normal], 1)
    score = own
    for _ in range(SMOOTH):
        score = own + beside @ score / np.maximum(np.asarray(beside.sum(1)), 1)
    axis = np.where(own > FACING, score, -np.inf).argmax(1)
    return np.where((own > FACING).any(1), axis, own.argmax(1))


def _pack(sizes: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Lower corners (N,2) of boxes of N widths and heights in rows, the tallest first; height and width of it all."""
    width = max(int(np.ceil(np.sqrt(1.1 * sizes.prod(1).sum()))), int(sizes[:, 0].max()))
    place = np.zeros((len(sizes), 2), np.int64)
    x = y = tall = 0
    for n in np.argsort(-sizes[:, 1], kind="stable"):
        if x + sizes[n, 0] > width:
            x, y, tall = 0, y + tall, 0
        place[n] = x, y
        x, tall = x + sizes[n, 0], max(tall, sizes[n, 1])
    return place, (int(y + tall), width)
