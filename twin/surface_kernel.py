"""Dual surfaces over sparse blocks: a vertex for every patch of surface in a cell, a quad for every crossed edge.

Source: Gibson, Constrained Elastic Surface Nets, 1998, with the vertex at the mean of the crossings (naive surface
nets) and then moved onto the zero of the trilinear distance. A cell with several sheets of surface gets a vertex for
each (Nielson, Dual Marching Cubes, 2004), else closed bodies would touch themselves. Cells share their vertices with
their neighbours, so meshes come welded.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twin.surface_table import PATCH, PATCHES
from twin.tsdf_blocks import CELLS, SIDE, find

_WIDE = SIDE + 1


@njit(cache=True, nogil=True)
def _grown(array):
    """The array with twice the rows."""
    larger = np.zeros((2 * len(array), array.shape[1]), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _gather(keys, values, places, block, distance, weight, d, w, owner):
    """Copy a block and the first layer of its upper neighbours into d, w (9,9,9), their numbers into owner (2,2,2)."""
    for a in range(2):
        for b in range(2):
            for c in range(2):
                owner[a, b, c] = find(keys, values, places[block, 0] + a, places[block, 1] + b, places[block, 2] + c)
    for i in range(_WIDE):
        for j in range(_WIDE):
            for k in range(_WIDE):
                n = owner[i // SIDE, j // SIDE, k // SIDE]
                if n < 0:
                    w[i, j, k] = 0
                    continue
                e = ((i % SIDE) * SIDE + j % SIDE) * SIDE + k % SIDE
                d[i, j, k] = distance[n, e]
                w[i, j, k] = weight[n, e]


@njit(cache=True, nogil=True, inline="always")
def _trilinear(d, x, y, z):
    """Value and gradient of the corner values d (2,2,2) at (x, y, z) in 0..1."""
    c00, c01 = d[0, 0, 0] * (1 - x) + d[1, 0, 0] * x, d[0, 0, 1] * (1 - x) + d[1, 0, 1] * x
    c10, c11 = d[0, 1, 0] * (1 - x) + d[1, 1, 0] * x, d[0, 1, 1] * (1 - x) + d[1, 1, 1] * x
    c0, c1 = c00 * (1 - y) + c10 * y, c01 * (1 - y) + c11 * y
    gx = ((d[1, 0, 0] - d[0, 0, 0]) * (1 - y) + (d[1, 1, 0] - d[0, 1, 0]) * y) * (1 - z) + (
        (d[1, 0, 1] - d[0, 0, 1]) * (1 - y) + (d[1, 1, 1] - d[0, 1, 1]) * y
    ) * z
    gy = (c10 - c00) * (1 - z) + (c11 - c01) * z
    return c0 * (1 - z) + c1 * z, gx, gy, c1 - c0


@njit(cache=True, nogil=True)
def _place(d, case, patch, at):
    """Put the vertex of a patch in a cell with corner values d (2,2,2) into at (3,), in 0..1."""
    at[:] = 0
    n = 0
    for p in range(2):
        for q in range(2):
            for axis in range(3):
                if axis == 0:
                    a, b = d[0, p, q], d[1, p, q]
                elif axis == 1:
                    a, b = d[p, 0, q], d[p, 1, q]
                else:
                    a, b = d[p, q, 0], d[p, q, 1]
                if PATCH[case, 4 * axis + 2 * p + q] != patch:
                    continue
                s = a / (a - b)
                n += 1
                if axis == 0:
                    at[0] += s
                    at[1] += p
                    at[2] += q
                elif axis == 1:
                    at[0] += p
                    at[1] += s
                    at[2] += q
                else:
                    at[0] += p
                    at[1] += q
                    at[2] += s
    at /= n
    if PATCHES[case] > 1:
        return
    for _ in range(2):  # the mean lies inside a curved surface: move it onto the zero, within the cell
        f, gx, gy, gz = _trilinear(d, at[0], at[1], at[2])
        g = gx * gx + gy * gy + gz * gz
        if g < 1e-12:
            break
        at[0] = min(max(at[0] - f * gx / g, 0.0), 1.0)
        at[1] = min(max(at[1] - f * gy / g, 0.0), 1.0)
        at[2] = min(max(at[2] - f * gz / g, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _paint(owner, color, i, j, k, at, out):
    """Put the colour at (3,) in the cell (i, j, k) into out (3,): trilinear over the corners that have one."""
    share = 0.0
    for p in range(2):
        for q in range(2):
            for r in range(2):
                n = owner[(i + p) // SIDE, (j + q) // SIDE, (k + r) // SIDE]
                e = (((i + p) % SIDE) * SIDE + (j + q) % SIDE) * SIDE + (k + r) % SIDE
                if color[n, e, 0] == 0 and color[n, e, 1] == 0 and color[n, e, 2] == 0:
                    continue  # never near enough to a surface to be coloured
                near = (at[0] if p else 1 - at[0]) * (at[1] if q else 1 - at[1]) * (at[2] if r else 1 - at[2]) + 1e-6
                share += near
                for channel in range(3):
                    out[channel] += near * color[n, e, channel]
    if share > 0:
        out /= share


@njit(cache=True, nogil=True)
def place_vertices(keys, values, places, count, distance, weight, color, min_weight, max_jump):
    """Vertices (V,3) in voxels, colours (V,3) 0..65535, and the vertices of every cell.

    A cell counts where all eight corners have a weight, one of them at least `min_weight`, and no two neighbouring
    corners differ by more than `max_jump`: more than that is the shadow's edge between free and hidden space.

    Returns (vertices, colours, index (count,512) int16 of a cell's first vertex in its block or -1, cases (count,512)
    of `PATCH`, first vertex of every block (count+1,)).
    """
    vertices = np.zeros((1024, 3))
    colors = np.zeros((1024, 3))
    index = np.full((count, CELLS), -1, np.int16)
    cases = np.zeros((count, CELLS), np.uint8)
    first = np.zeros(count + 1, np.int64)
    d = np.zeros((_WIDE, _WIDE, _WIDE), np.float32)
    w = np.zeros((_WIDE, _WIDE, _WIDE), np.float32)
    owner = np.zeros((2, 2, 2), np.int64)
    at = np.zeros(3)
    total = 0
    for block in range(count):
        first[block] = total
        _gather(keys, values, places, block, distance, weight, d, w, owner)
        for i in range(SIDE):
            for j in range(SIDE):
                for k in range(SIDE):
                    low, high, least, most = np.inf, -np.inf, np.inf, 0.0
                    for p in range(2):
                        for q in range(2):
                            for r in range(2):
                                value, trust = d[i + p, j + q, k + r], w[i + p, j + q, k + r]
                                low, high = min(low, value), max(high, value)
                                least, most = min(least, trust), max(most, trust)
                    if least <= 0 or most < min_weight or low >= 0 or high < 0:
                        continue
                    jump = 0.0
                    for p in range(2):
                        for q in range(2):
                            jump = max(jump, abs(d[i + 1, j + p, k + q] - d[i, j + p, k + q]))
                            jump = max(jump, abs(d[i + p, j + 1, k + q] - d[i + p, j, k + q]))
                            jump = max(jump, abs(d[i + p, j + q, k + 1] - d[i + p, j + q, k]))
                    if jump > max_jump:
                        continue
                    case = 0
                    for corner in range(8):
                        inside = d[i + corner // 4, j + corner // 2 % 2, k + corner % 2] < 0
                        case |= int(inside) << corner
                    cell = (i * SIDE + j) * SIDE + k
                    index[block, cell], cases[block, cell] = total - first[block], case
                    if total + 4 > len(vertices):
                        vertices, colors = _grown(vertices), _grown(colors)
                    for patch in range(PATCHES[case]):
                        _place(d[i : i + 2, j : j + 2, k : k + 2], case, patch, at)
                        vertices[total, 0] = places[block, 0] * SIDE + i + at[0]
                        vertices[total, 1] = places[block, 1] * SIDE + j + at[1]
                        vertices[total, 2] = places[block, 2] * SIDE + k + at[2]
                        _paint(owner, color, i, j, k, at, colors[total])
                        total += 1
    first[count] = total
    return vertices[:total], colors[:total], index, cases, first


@njit(cache=True, nogil=True, inline="always")
def _vertex(keys, values, places, block, index, cases, first, i, j, k, edge):
    """Number of the vertex on an edge's patch in the cell (i, j, k) of a block; -1 in i, j, k reaches into the lower
    neighbour. -1: there is none."""
    n = block
    if i < 0 or j < 0 or k < 0:
        n = find(keys, values, places[block, 0] - (i < 0), places[block, 1] - (j < 0), places[block, 2] - (k < 0))
        if n < 0:
            return -1
    cell = ((i & 7) * SIDE + (j & 7)) * SIDE + (k & 7)
    local = index[n, cell]
    return -1 if local < 0 else first[n] + local + PATCH[cases[n, cell], edge]


@njit(cache=True, nogil=True)
def join(keys, values, places, count, distance, index, cases, first, vertices):
    """Faces (F,3) int32: two triangles for every voxel edge that the surface crosses between four cells with vertices.

    They wind so that the normal points to where the distance is positive.
    """
    faces = np.zeros((2048, 3), np.int32)
    total = 0
    corner = np.zeros(4, np.int64)
    for block in range(count):
        for i in range(SIDE):
            for j in range(SIDE):
                for k in range(SIDE):
                    # all four cells around an edge that starts here include the cell here
                    if index[block, (i * SIDE + j) * SIDE + k] < 0:
                        continue
                    here = distance[block, (i * SIDE + j) * SIDE + k] < 0
                    for axis in range(3):
                        x, y, z = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        n = block
                        if x == SIDE or y == SIDE or z == SIDE:
                            at = places[block]
                            n = find(keys, values, at[0] + x // SIDE, at[1] + y // SIDE, at[2] + z // SIDE)
                            if n < 0:
                                continue
                        there = distance[n, ((x & 7) * SIDE + (y & 7)) * SIDE + (z & 7)] < 0
                        if here == there:
                            continue
                        # around the edge, counter-clockwise seen from its far end
                        complete = True
                        for c in range(4):
                            one, two = -(c == 1 or c == 2), -(c == 2 or c == 3)
                            if axis == 0:
                                x, y, z, edge = i, j + one, k + two, -2 * one - two
                            elif axis == 1:
                                x, y, z, edge = i + two, j, k + one, 4 - 2 * two - one
                            else:
                                x, y, z, edge = i + one, j + two, k, 8 - 2 * one - two
                            corner[c] = _vertex(keys, values, places, block, index, cases, first, x, y, z, edge)
                            complete &= corner[c] >= 0
                        if not complete:
                            continue
                        while total + 2 > len(faces):
                            faces = _grown(faces)
                        a, b, c_, e = corner[0], corner[1], corner[2], corner[3]
                        if there:  # from outside into the solid: the other way round
                            b, e = e, b
                        across = np.sum((vertices[a] - vertices[c_]) ** 2)
                        if across <= np.sum((vertices[b] - vertices[e]) ** 2):
                            faces[total, 0], faces[total, 1], faces[total, 2] = a, b, c_
                            faces[total + 1, 0], faces[total + 1, 1], faces[total + 1, 2] = a, c_, e
                        else:
                            faces[total, 0], faces[total, 1], faces[total, 2] = a, b, e
                            faces[total + 1, 0], faces[total + 1, 1], faces[total + 1, 2] = b, c_, e
                        total += 2
    return faces[:total]
