"""Where the visible outline of a mesh crosses the pixel grid: points, normals, lengths and their mesh edges.

A part's coverage changes only where its visible boundary moves: d/dθ ∫ g [p in part] dp = ∮ g (n · dp/dθ) dl
over that boundary, with n the outward normal (Reynolds transport theorem; for rendering: Li et al. 2018,
"Differentiable Monte Carlo Ray Tracing through Edge Sampling", eq. 5). The integral is taken where the
boundary crosses the rows and columns of pixel centres. Since nx² + ny² = 1, a sum over row crossings weighted
|nx| plus one over column crossings weighted |ny| measures length without bias for any direction, and a
crossing lies between exactly two pixels whose ids say which parts meet there. So every change of part in the
z-buffer gets one sample, and no edge counts twice.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit


@dataclass(frozen=True)
class EdgeTable:
    """The edges of a mesh with the triangles beside them.

    Attributes:
        vertices: (E,2) int32 end points.
        opposite: (E,2) int32 third vertices of the edge's triangles, -1 for none. An edge of more than two
            triangles has a row for each of them, as if each ended there.
        faces: (E,2) int32 those triangles, -1 for none; the first tells the edge's part.
    """

    vertices: np.ndarray
    opposite: np.ndarray
    faces: np.ndarray

    @classmethod
    def build(cls, vertices: np.ndarray, faces: np.ndarray, vertex_link: np.ndarray | None = None) -> EdgeTable:
        """Edges of faces (F,3) over vertices (V,3); vertices of one link (V,) at one place count as one."""
        vertices, faces = np.asarray(vertices), np.asarray(faces)
        if len(faces) == 0:
            return cls(*np.zeros((3, 0, 2), np.int32))
        link = np.zeros(len(vertices)) if vertex_link is None else vertex_link
        place = np.column_stack([link, np.round(vertices * 1e6)]).astype(np.int64)
        _, welded = np.unique(place, axis=0, return_inverse=True)
        ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
        face = np.tile(np.arange(len(faces)), 3)
        key = np.sort(welded.reshape(-1)[ends], axis=1)
        keep = key[:, 0] != key[:, 1]
        ends, opposite, face, key = ends[keep], opposite[keep], face[keep], key[keep]
        order = np.lexsort((key[:, 1], key[:, 0]))
        ends, opposite, face, key = ends[order], opposite[order], face[order], key[order]
        first = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(1)])
        count = np.diff(np.r_[first, len(key)])
        pair = first[count == 2]
        alone = np.flatnonzero(np.repeat(count, count) != 2)
        rows = np.concatenate([pair, alone])
        none = np.full(len(alone), -1)
        return cls(
            ends[rows].astype(np.int32),
            np.stack([opposite[rows], np.r_[opposite[pair + 1], none]], axis=1).astype(np.int32),
            np.stack([face[rows], np.r_[face[pair + 1], none]], axis=1).astype(np.int32),
        )


_tables: dict[int, tuple[weakref.ref[Any], EdgeTable]] = {}


def edge_table(mesh: Any) -> EdgeTable:
    """The `EdgeTable` of a `urdf.RobotMesh`, built once a mesh."""
    known = _tables.get(id(mesh))
    if known is None or known[0]() is not mesh:
        key = id(mesh)
        table = EdgeTable.build(mesh.vertices, mesh.faces, mesh.vertex_link)
        known = (weakref.ref(mesh, lambda _: _tables.pop(key, None)), table)
        _tables[key] = known
    return known[1]


class Boundary(NamedTuple):
    """Samples of the visible boundary between parts, N of them; part codes: -1 background, 0 arm, 1 gripper.

    Attributes:
        x, y: (N,) float32 position in pixels of the unscaled image.
        nx, ny: (N,) float32 unit normal, from the nearer part outwards.
        length: (N,) float32 pixels of boundary a sample stands for; they sum to the boundary's length.
        v0, v1: (N,) int32 end vertices of the edge that makes the boundary here.
        t: (N,) float32 position along the edge in the image, 0 at v0 and 1 at v1. The sample moves with
            (1-t) duv[v0] + t duv[v1]. The 3D point is ((1-t) w0 P0 + t w1 P1) / ((1-t) w0 + t w1), w = 1/z.
        part_in, part_out: (N,) int8 parts inside (the edge's own) and outside.
    """

    x: np.ndarray
    y: np.ndarray
    nx: np.ndarray
    ny: np.ndarray
    length: np.ndarray
    v0: np.ndarray
    v1: np.ndarray
    t: np.ndarray
    part_in: np.ndarray
    part_out: np.ndarray


@njit(cache=True, nogil=True, inline="always")
def _side(uv, inv_z, e0, e1, vertex):
    """On which side of edge e0-e1 a triangle's third vertex lies, +1 or -1; 0 if it is not drawn."""
    if vertex < 0 or inv_z[vertex] <= 0:
        return 0
    cross = (uv[e1, 0] - uv[e0, 0]) * (uv[vertex, 1] - uv[e0, 1]) - (uv[e1, 1] - uv[e0, 1]) * (
        uv[vertex, 0] - uv[e0, 0]
    )
    return 1 if cross > 0 else (-1 if cross < 0 else 0)


@njit(cache=True, nogil=True)
def _share_inside(x, y, dx, dy, width, height):
    """How much of the segment from (x, y) by (dx, dy) lies in 0..width, 0..height."""
    first, last = 0.0, 1.0
    for start, step, end in ((x, dx, width), (y, dy, height)):
        if step != 0:
            a, b = -start / step, (end - start) / step
            first, last = max(first, min(a, b)), min(last, max(a, b))
    return max(0.0, last - first)


@njit(cache=True, nogil=True)
def scan(uv, inv_z, vertices, opposite, faces, face_id, inv_depth, face_part, scale, owner, real, whole):
    """Write the samples into real (N,7: x y nx ny length t w) and whole (N,6: v0 v1 part_in part_out edge sure).

    Returns how many there are; at most `len(real)` are written. owner (2,H,W) int32 zeros: the sample
    between a pixel and the next one in its row, in its column.
    """
    height, width = face_id.shape
    shift = 0.5 * scale - 0.5
    count = 0
    capacity = real.shape[0]
    factor = np.ones(vertices.shape[0], np.float32)
    for e in range(vertices.shape[0]):
        i0, i1 = vertices[e, 0], vertices[e, 1]
        w0, w1 = inv_z[i0], inv_z[i1]
        if w0 <= 0 or w1 <= 0:
            continue
        side = _side(uv, inv_z, i0, i1, opposite[e, 0])
        other = _side(uv, inv_z, i0, i1, opposite[e, 1])
        if side + other == 0:  # the surface goes on beyond the edge, or neither triangle is drawn
            continue
        sign = 1.0 if side + other > 0 else -1.0
        x0, y0 = uv[i0, 0] * scale + shift, uv[i0, 1] * scale + shift
        x1, y1 = uv[i1, 0] * scale + shift, uv[i1, 1] * scale + shift
        dx, dy = x1 - x0, y1 - y0
        norm = np.sqrt(dx * dx + dy * dy)
        if norm < 1e-9 or max(x0, x1) < 0 or min(x0, x1) > width - 1 or max(y0, y1) < 0 or min(y0, y1) > height - 1:
            continue
        nx, ny = sign * dy / norm, -sign * dx / norm
        part = face_part[faces[e, 0]]
        counted = 0.0
        for axis in range(2):
            # axis 0: crossings of pixel rows, between two pixels beside each other; axis 1: of columns
            a0, a1, b0, b1 = (y0, y1, x0, x1) if axis == 0 else (x0, x1, y0, y1)
            limit, span = (height, width) if axis == 0 else (width, height)
            na = nx if axis == 0 else ny
            if na == 0:
                continue
            low, high = min(a0, a1), max(a0, a1)
            for line in range(max(0, int(np.ceil(low))), min(limit, int(np.ceil(high)))):
                t = (line - a0) / (a1 - a0)
                cross = b0 + t * (b1 - b0)
                if not (cross >= 0 and cross < span - 1):
                    continue
                counted += abs(na)
                cell = int(cross)
                inside, outside = (cell, cell + 1) if na > 0 else (cell + 1, cell)
                if axis == 0:
                    id_in, id_out = face_id[line, inside], face_id[line, outside]
                else:
                    id_in, id_out = face_id[inside, line], face_id[outside, line]
                part_in = face_part[id_in] if id_in >= 0 else -1
                part_out = face_part[id_out] if id_out >= 0 else -1
                if part_in != part or part_out == part:
                    continue
                w = w0 + t * (w1 - w0)
                if part_out >= 0:
                    behind = inv_depth[line, outside] if axis == 0 else inv_depth[outside, line]
                    if w < 0.98 * behind:  # the other part hides this edge
                        continue
                # against another part, an edge of the very triangle seen inside is surely where that one ends
                sure = part_out < 0 or id_in == faces[e, 0] or id_in == faces[e, 1]
                row, column = (line, cell) if axis == 0 else (cell, line)
                known = owner[axis, row, column]
                if known > 0:
                    k = known - 1
                    if k >= capacity:
                        continue
                    old = real[k, 0] if axis == 0 else real[k, 1]
                    old_n = real[k, 2] if axis == 0 else real[k, 3]
                    new = (cross - shift) / scale
                    if sure != (whole[k, 5] == 1):
                        if not sure:
                            continue
                    elif na * old_n > 0:
                        if (new - old) * na <= 0:  # of one part's edges the outermost is the boundary
                            continue
                    elif w <= real[k, 6]:  # of two parts' edges the nearer one
                        continue
                else:
                    k = count
                    count += 1
                    owner[axis, row, column] = count
                    if k >= capacity:
                        continue
                along, place = (line - shift) / scale, (cross - shift) / scale
                real[k, 0], real[k, 1] = (place, along) if axis == 0 else (along, place)
                real[k, 2], real[k, 3] = nx, ny
                real[k, 4] = abs(na) / scale
                real[k, 5] = t
                real[k, 6] = w
                whole[k, 0], whole[k, 1] = i0, i1
                whole[k, 2], whole[k, 3], whole[k, 4], whole[k, 5] = part_in, part_out, e, sure
        # The crossings of an edge stand for `counted` of length, right on average; where the edge is long enough to
        # be crossed for certain, they are made to stand for its own length.
        if norm > 2 and counted > 0:
            factor[e] = norm * _share_inside(x0, y0, dx, dy, width - 1, height - 1) / counted
    for k in range(min(count, capacity)):
        real[k, 4] *= factor[whole[k, 4]]
    return count


def boundary_samples(
    uv: np.ndarray,
    inv_z: np.ndarray,
    edges: EdgeTable,
    face_id: np.ndarray,
    inv_depth: np.ndarray,
    face_part: np.ndarray,
    scale: int = 1,
    owner: np.ndarray | None = None,
) -> Boundary:
    """Samples of the visible boundary between parts (and between a part and the background) in one image.

    Boundary along the image's border, where the picture and not the robot ends, is left out.

    Args:
        uv: (V,2) float32 projected vertices in pixels.
        inv_z: (V,) float32 inverse depth in 1/m, 0 behind the camera (`pose.raster.inverse_depth`).
        edges: from `edge_table(robot.mesh)`.
        face_id, inv_depth: (H*scale,W*scale) from `pose.raster.rasterize(..., scale)`.
        face_part: (F,) int8 part of each triangle.
        scale: buffer samples a pixel side; the samples lie 1/scale pixel apart.
        owner: (2,H*scale,W*scale) int32 zeros to be filled: which sample (from 1) a change of part between a pixel
            and the next one in its row (0) or column (1) got; for `pose.seams`.
    """
    capacity = 8 * sum(face_id.shape) + 1024
    while True:
        if owner is None:
            owner = np.zeros((2, *face_id.shape), np.int32)
        real = np.empty((capacity, 7), np.float32)
        whole = np.empty((capacity, 6), np.int32)
        n = scan(
            uv, inv_z, edges.vertices, edges.opposite, edges.faces, face_id, inv_depth, face_part, scale,
            owner, real, whole,
        )  # fmt: skip
        if n <= capacity:
            break
        capacity = n
        owner[:] = 0
    r, i = real[:n].T.copy(), whole[:n].T.copy()
    return Boundary(r[0], r[1], r[2], r[3], r[4], i[0], i[1], r[5], i[2].astype(np.int8), i[3].astype(np.int8))
