"""Where two parts run into each other: the visible boundary there is an intersection curve, not an edge of the mesh.

A hand sunk into its flange is the common case. Between neighbouring pixels that show triangles a and b, the curve is
h = w_a - w_b = 0 with w = 1/z linear in the image. Its outward normal from a is n = -∇h/|∇h|, and it moves along n by
dh/|∇h|, where dh, at a fixed pixel, follows from the motion and the depth of both triangles' vertices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit


class Seams(NamedTuple):
    """Samples of the intersection curves between parts, M of them.

    Attributes:
        x, y: (M,) float32 position in pixels of the unscaled image.
        length: (M,) float32 pixels of curve a sample stands for.
        vertices: (M,6) int32 corners of triangle a, then of triangle b.
        motion: (M,6,3) float32: the curve moves by sum(motion * (du, dv, dw)) pixels from a towards b.
        part_in, part_out: (M,) int8 parts of a and b.
    """

    x: np.ndarray
    y: np.ndarray
    length: np.ndarray
    vertices: np.ndarray
    motion: np.ndarray
    part_in: np.ndarray
    part_out: np.ndarray


@njit(cache=True, nogil=True)
def _slope(uv, inv_z, face):
    """d(1/z)/dx and d(1/z)/dy over a triangle's plane in the image."""
    i0, i1, i2 = face
    ax, ay = uv[i1, 0] - uv[i0, 0], uv[i1, 1] - uv[i0, 1]
    bx, by = uv[i2, 0] - uv[i0, 0], uv[i2, 1] - uv[i0, 1]
    area = np.float64(ax) * by - np.float64(bx) * ay
    wa, wb = inv_z[i1] - inv_z[i0], inv_z[i2] - inv_z[i0]
    return (wa * by - wb * ay) / area, (wb * ax - wa * bx) / area, area


@njit(cache=True, nogil=True)
def _corner_weights(uv, face, area, x, y, out):
    """Barycentric coordinates of pixel x, y in a triangle."""
    i0, i1, i2 = face
    out[1] = ((x - uv[i0, 0]) * (uv[i2, 1] - uv[i0, 1]) - (uv[i2, 0] - uv[i0, 0]) * (y - uv[i0, 1])) / area
    out[2] = ((uv[i1, 0] - uv[i0, 0]) * (y - uv[i0, 1]) - (x - uv[i0, 0]) * (uv[i1, 1] - uv[i0, 1])) / area
    out[0] = 1 - out[1] - out[2]


@njit(cache=True, nogil=True)
def _scan(uv, inv_z, faces, face_id, face_part, scale, owner, place, vertices, motion, parts):
    """Fill place (M,3: x y length), vertices, motion, parts (M,2); returns how many were found."""
    height, width = face_id.shape
    shift = 0.5 * scale - 0.5
    # a seam lies inside the picture of the gripper: look there only
    x_low, y_low, x_high, y_high = np.inf, np.inf, -np.inf, -np.inf
    for f in range(len(faces)):
        if face_part[f] == 1:
            for corner in range(3):
                i = faces[f, corner]
                if inv_z[i] > 0:
                    x_low, x_high = min(x_low, uv[i, 0]), max(x_high, uv[i, 0])
                    y_low, y_high = min(y_low, uv[i, 1]), max(y_high, uv[i, 1])
    count = 0
    if not (x_high > x_low):
        return count
    first_x = int(max(0.0, x_low * scale + shift - 1))
    first_y = int(max(0.0, y_low * scale + shift - 1))
    last_x = int(min(width - 1.0, x_high * scale + shift + 1))
    last_y = int(min(height - 1.0, y_high * scale + shift + 1))
    weights = np.empty(3)
    for y in range(first_y, last_y + 1):
        for x in range(first_x, last_x + 1):
            a = face_id[y, x]
            if a < 0:
                continue
            for axis in range(2):
                x2, y2 = (x + 1, y) if axis == 0 else (x, y + 1)
                if x2 >= width or y2 >= height:
                    continue
                b = face_id[y2, x2]
                if b < 0 or face_part[a] == face_part[b] or owner[axis, y, x] > 0:
                    continue
                ax, ay, area_a = _slope(uv, inv_z, faces[a])
                bx, by, area_b = _slope(uv, inv_z, faces[b])
                px, py = (x - shift) / scale, (y - shift) / scale
                wa = inv_z[faces[a, 0]] + ax * (px - uv[faces[a, 0], 0]) + ay * (py - uv[faces[a, 0], 1])
                wb = inv_z[faces[b, 0]] + bx * (px - uv[faces[b, 0], 0]) + by * (py - uv[faces[b, 0], 1])
                hx, hy = ax - bx, ay - by
                along = hx if axis == 0 else hy
                steep = np.sqrt(hx * hx + hy * hy)
                # a must be the nearer one at its own pixel and the farther one at b's: else the planes do not meet here
                if along >= 0 or wa < wb or wa - wb > -along / scale:
                    continue
                where = -(wa - wb) / along
                if axis == 0:
                    px += where
                else:
                    py += where
                if count < len(place):
                    place[count, 0], place[count, 1] = px, py
                    place[count, 2] = -along / steep / scale
                    for side in range(2):
                        face, area = (a, area_a) if side == 0 else (b, area_b)
                        gx, gy = (ax, ay) if side == 0 else (bx, by)
                        _corner_weights(uv, faces[face], area, px, py, weights)
                        sign = 1.0 if side == 0 else -1.0
                        for corner in range(3):
                            share = sign * weights[corner] / steep
                            k = 3 * side + corner
                            vertices[count, k] = faces[face, corner]
                            motion[count, k, 0] = -share * gx
                            motion[count, k, 1] = -share * gy
                            motion[count, k, 2] = share
                    parts[count, 0], parts[count, 1] = face_part[a], face_part[b]
                count += 1
    return count


def seam_samples(
    uv: np.ndarray,
    inv_z: np.ndarray,
    faces: np.ndarray,
    face_id: np.ndarray,
    face_part: np.ndarray,
    scale: int,
    owner: np.ndarray,
) -> Seams:
    """The changes between arm and gripper that no mesh edge owns; arguments as `pose.boundary.boundary_samples`.

    owner (2,H*scale,W*scale) is non-zero where an edge owns the change, as `pose.boundary.scan` leaves it.
    """
    capacity = 4 * sum(face_id.shape)
    while True:
        place, vertices = np.empty((capacity, 3), np.float32), np.empty((capacity, 6), np.int32)
        motion, parts = np.empty((capacity, 6, 3), np.float32), np.empty((capacity, 2), np.int8)
        n = _scan(uv, inv_z, faces, face_id, face_part, scale, owner, place, vertices, motion, parts)
        if n <= capacity:
            break
        capacity = n
    x, y, length = place[:n].T.copy()
    return Seams(x, y, length, vertices[:n].copy(), motion[:n].copy(), parts[:n, 0].copy(), parts[:n, 1].copy())


@njit(cache=True, nogil=True)
def splat_seams(grad_uv, grad_w, grad, x, y, length, vertices, motion, part_in, part_out):
    """Add dL/duv (V,2) and dL/d(1/z) (V,) of the samples, for dL/dcoverage in grad (2,H,W)."""
    for k in range(len(x)):
        column, row = int(x[k] + 0.5), int(y[k] + 0.5)
        change = length[k] * (grad[part_in[k], row, column] - grad[part_out[k], row, column])
        for corner in range(6):
            i = vertices[k, corner]
            grad_uv[i, 0] += change * motion[k, corner, 0]
            grad_uv[i, 1] += change * motion[k, corner, 1]
            grad_w[i] += change * motion[k, corner, 2]
