"""From signed distances in blocks to a mesh."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.surface_kernel import join, place_vertices
from twin.tsdf_blocks import Blocks


def extract_surface(blocks: Blocks, min_weight: float = 0.0, max_jump: float = np.inf, min_area: float = 0.0) -> Mesh:
    """The surface of zero distance, normals towards positive distance (out of the solid), with the voxels' colours.

    Args:
        blocks: distances in any unit; a voxel of weight 0 is unknown and no surface touches it.
        min_weight: a cell needs one corner of this weight.
        max_jump: largest difference of distance along a voxel's edge that is a surface.
        min_area: connected pieces with less (m2) are left out.

    Raises:
        TwinError: no surface at all.
    """
    held = blocks.keys, blocks.values, blocks.places
    vertices, colors, index, cases, first = place_vertices(
        *held, blocks.count, blocks.distance, blocks.weight, blocks.color, min_weight, max_jump
    )
    faces = join(*held, blocks.count, blocks.distance, index, cases, first, vertices)
    levels = np.clip(np.round(colors / 256), 0, 255).astype(np.uint8)
    mesh = without_specks(part_sheets(Mesh(vertices * blocks.voxel, faces, levels)), min_area)
    if not len(mesh.faces):
        raise TwinError("nothing to fuse: no surface was seen often enough inside the bounds")
    return mesh


def part_sheets(mesh: Mesh) -> Mesh:
    """Part sheets of surface that share an edge, so that no edge has four triangles and closed bodies are manifold.

    It happens between two cells on both sides of an ambiguous face. Two of the triangles, one of each direction, get a
    vertex of their own in the edge's middle.
    """
    vertices, colors, faces = mesh.vertices, mesh.colors, mesh.faces
    while True:
        start, end = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        key = np.minimum(start, end).astype(np.int64) * len(vertices) + np.maximum(start, end)
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.r_[True, key[order][1:] != key[order][:-1]])
        touched: set[int] = set()
        ends: list[tuple[int, int]] = []
        fresh: list[tuple[int, int, int]] = []
        for at in first[np.diff(np.r_[first, len(key)]) == 4]:
            sides = order[at : at + 4]
            onward, backward = sides[start[sides] < end[sides]], sides[start[sides] > end[sides]]
            if len(onward) != 2 or touched & set(sides // 3):
                continue  # triangles at two such edges wait for the next round
            for side in (onward[0], backward[0]):
                touched.add(side // 3)
                apex = end[3 * (side // 3) + (side + 1) % 3]
                middle = len(vertices) + len(ends)
                fresh += [(start[side], middle, apex), (middle, end[side], apex)]
            ends.append((start[onward[0]], end[onward[0]]))
        if not ends:
            return Mesh(vertices, faces, colors)
        a, b = np.array(ends).T
        vertices = np.concatenate([vertices, 0.5 * (vertices[a] + vertices[b])])
        colors = None if colors is None else np.concatenate([colors, colors[a]])
        kept = np.ones(len(faces), bool)
        kept[list(touched)] = False
        faces = np.concatenate([faces[kept], np.array(fresh, np.int32)])


def areas(mesh: Mesh) -> np.ndarray:
    """Area of every triangle, (F,) m2."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def volume(mesh: Mesh) -> float:
    """Signed volume in m3 of a closed mesh: positive where its normals point outwards (divergence theorem)."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6


def without_specks(mesh: Mesh, min_area: float) -> Mesh:
    """Without the connected pieces of less than `min_area` m2, and without vertices that no triangle uses."""
    f = mesh.faces
    if not len(f):
        return mesh
    n = len(mesh.vertices)
    ones = np.ones(2 * len(f), bool)
    links = coo_matrix((ones, (np.r_[f[:, 0], f[:, 1]], np.r_[f[:, 1], f[:, 2]])), (n, n))
    piece = connected_components(links, directed=False)[1][f[:, 0]]
    f = f[np.bincount(piece, areas(mesh))[piece] >= min_area]
    used = np.zeros(n, bool)
    used[f] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    colors = None if mesh.colors is None else mesh.colors[used]
    return Mesh(mesh.vertices[used], number[f].astype(np.int32), colors)
