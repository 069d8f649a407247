"""Fewer triangles for the same shape: edge collapse in the order of a quadric error.

Source: Garland and Heckbert, "Surface simplification using quadric error metrics", SIGGRAPH 1997, with planes
weighted by the area of their triangle, so that screws and engravings go first. Made for CAD meshes as robots
have them: open borders, several sheets at an edge and loose pieces are taken as they come, and the budget is
always met.
"""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

BORDER = 1.0  # weight of keeping open borders in place
TURN = 0.2  # a triangle's normal may not turn further than to this cosine


def decimate(
    vertices: np.ndarray, faces: np.ndarray, target: int, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collapse edges until at most `target` triangles are left.

    Args:
        vertices: (V,3); the error is measured in their unit, squared and times area.
        faces: (F,3) indices; several disjoint meshes share the budget by need.
        target: triangles to keep.
        weight: (F,) how much a triangle's place matters; its area if None.

    Returns:
        vertices (V,3) float64 with the kept ones moved, faces (F,3) int64 in the old numbering of vertices,
        and kept (F,) bool, the rows of `faces` that live on.
    """
    points = np.ascontiguousarray(vertices, np.float64).copy()
    triangles = np.ascontiguousarray(faces, np.int64).copy()
    corners = points[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    weight = area if weight is None else np.ascontiguousarray(weight, np.float64)
    edges, owner = _edges(triangles, len(points))
    importance = np.minimum(weight / np.maximum(area, 1e-12), 1.0)
    quadrics = _quadrics(points, triangles, edges, owner, weight, importance)
    kept = np.ones(len(triangles), np.bool_)
    for cosine in (TURN, -2.0):  # the second round, seldom needed, lets triangles turn over
        if kept.sum() <= target:
            break
        edges, _ = _edges(triangles[kept], len(points))
        _collapse(points, triangles, edges, quadrics, kept, target, cosine)
    return points, triangles, kept


def _edges(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges (E,2) of triangles, and for each the row of its triangle when it has only one, else -1."""
    pairs = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    keys = pairs.min(axis=1) * count + pairs.max(axis=1)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    single = np.diff(np.r_[first, len(keys)]) == 1
    return np.column_stack(np.divmod(keys[first], count)), np.where(single, order[first] // 3, -1)


# The loops below are written out in numbers, not small arrays: that compiles and runs much faster.


@njit(cache=True)
def _plane(Q, x, y, z, d, weight):
    """Add weight * squared distance to the plane (x,y,z).p + d = 0 to Q, xx xy xz yy yz zz x y z 1."""
    Q[0] += weight * x * x
    Q[1] += weight * x * y
    Q[2] += weight * x * z
    Q[3] += weight * y * y
    Q[4] += weight * y * z
    Q[5] += weight * z * z
    Q[6] += weight * x * d
    Q[7] += weight * y * d
    Q[8] += weight * z * d
    Q[9] += weight * d * d


@njit(cache=True)
def _cross(ax, ay, az, bx, by, bz):
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@njit(cache=True)
def _normal(points, i, j, k):
    """Normal of a triangle, twice its area long."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    ax, ay, az = points[j, 0] - x, points[j, 1] - y, points[j, 2] - z
    return _cross(ax, ay, az, points[k, 0] - x, points[k, 1] - y, points[k, 2] - z)


@njit(cache=True)
def _quadrics(points, faces, edges, owner, weight, importance):
    """(V,10) quadric of every vertex; edges with an owner are borders."""
    Q = np.zeros((points.shape[0], 10))
    for f in range(faces.shape[0]):
        i = faces[f, 0]
        x, y, z = _normal(points, i, faces[f, 1], faces[f, 2])
        size = np.sqrt(x * x + y * y + z * z)
        if size > 1e-15:
            x, y, z = x / size, y / size, z / size
            d = -(x * points[i, 0] + y * points[i, 1] + z * points[i, 2])
            for k in range(3):
                _plane(Q[faces[f, k]], x, y, z, d, weight[f] / 3)
    for e in range(edges.shape[0]):
        if owner[e] < 0:
            continue
        # a wall along the border, square to its triangle
        f, i, j = owner[e], edges[e, 0], edges[e, 1]
        x, y, z = _normal(points, faces[f, 0], faces[f, 1], faces[f, 2])
        bx, by, bz = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        x, y, z = _cross(bx, by, bz, x, y, z)
        size = np.sqrt(x * x + y * y + z * z)
        if size > 1e-15:
            x, y, z = x / size, y / size, z / size
            d = -(x * points[i, 0] + y * points[i, 1] + z * points[i, 2])
            scale = BORDER * importance[f]
            for k in range(2):
                _plane(Q[edges[e, k]], x, y, z, d, scale * (bx * bx + by * by + bz * bz) / 2)
    return Q


@njit(cache=True)
def _error(Q, x, y, z):
    square = Q[0] * x * x + Q[3] * y * y + Q[5] * z * z + 2 * (Q[1] * x * y + Q[2] * x * z + Q[4] * y * z)
    return max(square + 2 * (Q[6] * x + Q[7] * y + Q[8] * z) + Q[9], 0.0)


@njit(cache=True)
def _best(points, quadrics, i, j, Q):
    """Error and place of the point that replaces edge i-j: the quadric's minimum if near, else on the edge.

    Q (10,) is scratch.
    """
    for k in range(10):
        Q[k] = quadrics[i, k] + quadrics[j, k]
    ax, ay, az = points[i, 0], points[i, 1], points[i, 2]
    bx, by, bz = points[j, 0], points[j, 1], points[j, 2]
    length = (bx - ax) ** 2 + (by - ay) ** 2 + (bz - az) ** 2
    mx, my, mz = (ax + bx) / 2, (ay + by) / 2, (az + bz) / 2
    x, y, z, error = mx, my, mz, _error(Q, mx, my, mz)
    end = _error(Q, ax, ay, az)
    if end < error:
        x, y, z, error = ax, ay, az, end
    end = _error(Q, bx, by, bz)
    if end < error:
        x, y, z, error = bx, by, bz, end
    c00, c01, c02 = Q[3] * Q[5] - Q[4] * Q[4], Q[2] * Q[4] - Q[1] * Q[5], Q[1] * Q[4] - Q[2] * Q[3]
    c11, c12, c22 = Q[0] * Q[5] - Q[2] * Q[2], Q[1] * Q[2] - Q[0] * Q[4], Q[0] * Q[3] - Q[1] * Q[1]
    det = Q[0] * c00 + Q[1] * c01 + Q[2] * c02
    trace = Q[0] + Q[3] + Q[5]
    if det > 1e-5 * trace * trace * trace:
        px = -(c00 * Q[6] + c01 * Q[7] + c02 * Q[8]) / det
        py = -(c01 * Q[6] + c11 * Q[7] + c12 * Q[8]) / det
        pz = -(c02 * Q[6] + c12 * Q[7] + c22 * Q[8]) / det
        if (px - mx) ** 2 + (py - my) ** 2 + (pz - mz) ** 2 < 4 * length:
            end = _error(Q, px, py, pz)
            if end <= error:
                x, y, z, error = px, py, pz, end
    return error + 1e-9 * length * trace, x, y, z  # among equals on flat ground the short edge goes first


@njit(cache=True)
def _turns(points, faces, kept, head, following, v, other, x, y, z, cosine):
    """Whether moving vertex v to (x,y,z) turns one of its triangles (those with `other` vanish) too far."""
    corner = head[v]
    while corner >= 0:
        f, k = corner // 3, corner % 3
        a, b = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
        if kept[f] and a != other and b != other:
            nx, ny, nz = _normal(points, v, a, b)
            ax, ay, az = points[a, 0] - x, points[a, 1] - y, points[a, 2] - z
            tx, ty, tz = _cross(ax, ay, az, points[b, 0] - x, points[b, 1] - y, points[b, 2] - z)
            sizes = np.sqrt((nx * nx + ny * ny + nz * nz) * (tx * tx + ty * ty + tz * tz))
            if nx * tx + ny * ty + nz * tz < cosine * sizes:
                return True
        corner = following[corner]
    return False


@njit(cache=True)
def _collapse(points, faces, edges, Q, kept, target, cosine):
    """Collapse in place, cheapest edge first, until `target` faces are kept or no edge is left."""
    count = points.shape[0]
    # the triangles around a vertex: linked lists of corners, joined in one step when vertices merge
    head, tail = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    following = np.full(faces.size, -1, np.int64)
    left = 0
    for f in range(faces.shape[0]):
        if not kept[f]:
            continue
        left += 1
        for k in range(3):
            v, corner = faces[f, k], 3 * f + k
            if head[v] < 0:
                head[v] = corner
            else:
                following[tail[v]] = corner
            tail[v] = corner
    stamp = np.zeros(count, np.int64)  # raised when a vertex changes: older heap entries are void
    mark = np.full(count, -1, np.int64)
    scratch = np.empty(10)
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    for e in range(edges.shape[0]):
        i, j = edges[e, 0], edges[e, 1]
        heap.append((_best(points, Q, i, j, scratch)[0], i, j, np.int64(0), np.int64(0)))
    heapq.heapify(heap)
    while left > target and len(heap) > 0:
        _, i, j, si, sj = heapq.heappop(heap)
        if stamp[i] != si or stamp[j] != sj:
            continue
        _, x, y, z = _best(points, Q, i, j, scratch)
        if cosine > -1 and (
            _turns(points, faces, kept, head, following, i, j, x, y, z, cosine)
            or _turns(points, faces, kept, head, following, j, i, x, y, z, cosine)
        ):
            continue
        points[i, 0], points[i, 1], points[i, 2] = x, y, z
        for k in range(10):
            Q[i, k] += Q[j, k]
        stamp[i] += 1
        stamp[j] = -1
        corner = head[j]
        while corner >= 0:
            faces[corner // 3, corner % 3] = i
            corner = following[corner]
        following[tail[i]] = head[j]
        tail[i] = tail[j]
        corner, before = head[i], np.int64(-1)
        mark[i] = i
        while corner >= 0:
            f = corner // 3
            if kept[f]:
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                if a == b or b == c or c == a:
                    kept[f] = False
                    left -= 1
            if kept[f]:
                before = corner
            elif before >= 0:  # drop the dead corner from the list
                following[before] = following[corner]
                if tail[i] == corner:
                    tail[i] = before
            corner = following[corner]
        corner = head[i]
        while corner >= 0:
            f = corner // 3
            if kept[f]:
                for k in range(3):
                    v = faces[f, k]
                    if v != i and mark[v] != i:
                        mark[v] = i
                        cost = _best(points, Q, i, v, scratch)[0]
                        heapq.heappush(heap, (cost, i, v, stamp[i], stamp[v]))
            corner = following[corner]
        # marks of this vertex must not survive into its next turn
        corner = head[i]
        while corner >= 0:
            for k in range(3):
                mark[faces[corner // 3, k]] = -1
            corner = following[corner]
