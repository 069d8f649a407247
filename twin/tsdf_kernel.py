"""The loops of TSDF fusion: blocks around the measured surface, and the running average in their voxels."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from twin.tsdf_blocks import CELLS, SIDE, insert


@njit(cache=True, nogil=True)
def touch(keys, values, places, count, depth, weight, K_inv, T_base_cam, low, high, voxel, band):
    """Insert the blocks within `band` metres along the ray of every measured point between `low` and `high` (3,).

    Returns the count of blocks, -1 where there is no room.
    """
    R, t = T_base_cam[:3, :3], T_base_cam[:3, 3]
    pace = 0.5 * SIDE * voxel
    steps = int(np.ceil(2 * band / pace)) + 1
    last = np.full((6, steps), -(1 << 30), np.int64)
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            if weight[v, u] <= 0:
                continue
            rx = K_inv[0, 0] * u + K_inv[0, 1] * v + K_inv[0, 2]
            ry = K_inv[1, 1] * v + K_inv[1, 2]
            dx = R[0, 0] * rx + R[0, 1] * ry + R[0, 2]
            dy = R[1, 0] * rx + R[1, 1] * ry + R[1, 2]
            dz = R[2, 0] * rx + R[2, 1] * ry + R[2, 2]
            px, py, pz = t[0] + z * dx, t[1] + z * dy, t[2] + z * dz
            if px < low[0] or py < low[1] or pz < low[2] or px > high[0] or py > high[1] or pz > high[2]:
                continue
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            for s in range(steps):
                a = (2 * band * s / (steps - 1) - band) / length
                x, y, q = (px + a * dx) / voxel, (py + a * dy) / voxel, (pz + a * dz) / voxel
                # the voxels on both sides of the point, which may lie in neighbouring blocks
                x0, x1 = int(np.floor((x - 1) / SIDE)), int(np.floor((x + 1) / SIDE))
                y0, y1 = int(np.floor((y - 1) / SIDE)), int(np.floor((y + 1) / SIDE))
                z0, z1 = int(np.floor((q - 1) / SIDE)), int(np.floor((q + 1) / SIDE))
                seen = last[:, s]
                if (
                    seen[0] == x0 and seen[1] == x1 and seen[2] == y0
                    and seen[3] == y1 and seen[4] == z0 and seen[5] == z1
                ):  # fmt: skip
                    continue  # the pixel before asked for the same
                seen[0], seen[1], seen[2], seen[3], seen[4], seen[5] = x0, x1, y0, y1, z0, z1
                for bx in range(x0, x1 + 1):
                    for by in range(y0, y1 + 1):
                        for bz in range(z0, z1 + 1):
                            count = insert(keys, values, places, count, bx, by, bz)
                            if count < 0:
                                return -1
    return count


@njit(cache=True, nogil=True, inline="always")
def _measured(depth, cosine, weight, u, v, jump):
    """Depth, cosine and weight at a place between pixels: bilinear in 1/z on one surface, else the nearest pixel."""
    iu, iv = int(np.floor(u)), int(np.floor(v))
    if iu < 0 or iv < 0 or iu >= depth.shape[1] - 1 or iv >= depth.shape[0] - 1:
        return np.float32(0), np.float32(0), np.float32(0)
    a, b = depth[iv, iu], depth[iv, iu + 1]
    c, d = depth[iv + 1, iu], depth[iv + 1, iu + 1]
    least, most = min(a, b, c, d), max(a, b, c, d)
    if least > 0 and most - least < jump * most:
        fu, fv = u - iu, v - iv
        wa, wb, wc, wd = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
        return (
            np.float32(1 / (wa / a + wb / b + wc / c + wd / d)),
            np.float32(
                wa * cosine[iv, iu] + wb * cosine[iv, iu + 1] + wc * cosine[iv + 1, iu] + wd * cosine[iv + 1, iu + 1]
            ),
            np.float32(
                wa * weight[iv, iu] + wb * weight[iv, iu + 1] + wc * weight[iv + 1, iu] + wd * weight[iv + 1, iu + 1]
            ),
        )
    nu, nv = int(np.floor(u + 0.5)), int(np.floor(v + 0.5))
    return depth[nv, nu], cosine[nv, nu], weight[nv, nu]


@njit(cache=True, parallel=True, nogil=True)
def average(places, count, distance, weights, colors, depth, cosine, weight, image, K, T_cam_base, voxel, band, jump):
    """Take one picture into the running averages of all voxels that it sees (Curless and Levoy, 1996).

    `distance` is in units of `band`, 1 in free space; a voxel deeper than `band` behind the surface is not touched.
    Behind the surface the weight falls to nothing, so that the two sides of a thin wall disturb each other little.
    """
    height, width = depth.shape
    fx, skew, cx, fy, cy = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]
    R, t = T_cam_base[:3, :3], T_cam_base[:3, 3]
    radius = 0.5 * SIDE * voxel * np.sqrt(3.0)
    for b in prange(count):
        ox, oy, oz = places[b, 0] * SIDE * voxel, places[b, 1] * SIDE * voxel, places[b, 2] * SIDE * voxel
        half = 0.5 * (SIDE - 1) * voxel
        mx, my, mz = ox + half, oy + half, oz + half
        x = R[0, 0] * mx + R[0, 1] * my + R[0, 2] * mz + t[0]
        y = R[1, 0] * mx + R[1, 1] * my + R[1, 2] * mz + t[1]
        z = R[2, 0] * mx + R[2, 1] * my + R[2, 2] * mz + t[2]
        if z < -radius:
            continue
        if z > 2 * radius:  # beside the picture by more than the block's own size there
            reach = 2 * radius * max(fx, fy) / (z - radius) * (1 + (abs(x) + abs(y)) / z)
            u, v = (fx * x + skew * y) / z + cx, fy * y / z + cy
            if u < -reach or v < -reach or u > width + reach or v > height + reach:
                continue
        for e in range(CELLS):
            i, j, k = e // 64, (e // 8) % 8, e % 8
            wx, wy, wz = ox + i * voxel, oy + j * voxel, oz + k * voxel
            z = R[2, 0] * wx + R[2, 1] * wy + R[2, 2] * wz + t[2]
            if z <= 0.01:
                continue
            rx = (R[0, 0] * wx + R[0, 1] * wy + R[0, 2] * wz + t[0]) / z
            ry = (R[1, 0] * wx + R[1, 1] * wy + R[1, 2] * wz + t[1]) / z
            u, v = fx * rx + skew * ry + cx, fy * ry + cy
            d, c, w = _measured(depth, cosine, weight, u, v, jump)
            if d <= 0 or w <= 0:
                continue
            # along the ray, and from there across the surface: exact on a plane
            s = (d - z) * np.sqrt(1 + rx * rx + ry * ry) * c / band
            if s < -1:
                continue
            if s < -0.25:
                w *= (1 + s) / 0.75
                if w <= 0:
                    continue
            total = weights[b, e] + w
            distance[b, e] += (min(s, 1.0) - distance[b, e]) * w / total
            weights[b, e] = total
            if abs(s) < 0.75:
                # colours average over what lay near the surface only; without own weight the newest counts its share
                share = max(w / total, 0.0)
                nu, nv = int(np.floor(u + 0.5)), int(np.floor(v + 0.5))
                fresh = colors[b, e, 0] == 0 and colors[b, e, 1] == 0 and colors[b, e, 2] == 0
                for channel in range(3):
                    new = 256.0 * image[nv, nu, channel]
                    old = float(colors[b, e, channel])
                    colors[b, e, channel] = np.uint16(new if fresh else old + share * (new - old))
