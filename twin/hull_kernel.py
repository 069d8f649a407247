"""The loops of the visual hull: how far a point is inside all outlines, for boxes and for voxels."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from twin.tsdf_blocks import CELLS, SIDE

UNKNOWN = -(1 << 15)  # in the outlines' pictures: the pixel is hidden and says nothing
AWAY = -100.0  # pixels; beside a picture that shows the thing whole
UNIT = 16.0  # outlines' distances are kept in 1/16 pixel


@njit(cache=True, nogil=True, inline="always")
def _look(outline, framed, K, T, x, y, z):
    """(distance inside the outline in pixels, whether the picture says anything, depth) of a point."""
    depth = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
    if depth <= 1e-3:
        return AWAY, framed, depth
    a = (T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]) / depth
    b = (T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]) / depth
    u, v = K[0, 0] * a + K[0, 1] * b + K[0, 2], K[1, 1] * b + K[1, 2]
    height, width = outline.shape
    iu, iv = int(np.floor(u)), int(np.floor(v))
    if iu < 0 or iv < 0 or iu >= width - 1 or iv >= height - 1:
        return AWAY, framed, depth
    p, q, r, s = outline[iv, iu], outline[iv, iu + 1], outline[iv + 1, iu], outline[iv + 1, iu + 1]
    if p == UNKNOWN or q == UNKNOWN or r == UNKNOWN or s == UNKNOWN:
        return 0.0, False, depth
    fu, fv = u - iu, v - iv
    return ((p * (1 - fu) + q * fu) * (1 - fv) + (r * (1 - fu) + s * fu) * fv) / UNIT, True, depth


@njit(cache=True, nogil=True, inline="always")
def _keep_least(least, value):
    """Insert a value into the ascending list of the least ones."""
    for n in range(len(least)):
        if value < least[n]:
            value, least[n] = least[n], value


@njit(cache=True, parallel=True, nogil=True)
def sift(centers, radius, outlines, views, K, T, misses, min_views):
    """What becomes of balls of `radius` metres: 0 outside the hull, 1 the surface may pass, 2 all inside; (N,) int8.

    outlines: (V,H,W) int16, padded; views (V,3) the true height and width, and whether the thing is whole in the
    picture, so that it is not beside it; K (V,3,3), T (V,4,4) T_cam_base.
    """
    result = np.zeros(len(centers), np.int8)
    for n in prange(len(centers)):
        x, y, z = centers[n]
        outside, told, unsure = 0, 0, 0
        for c in range(len(K)):
            outline = outlines[c, : views[c, 0], : views[c, 1]]
            value, says, depth = _look(outline, views[c, 2] > 0, K[c], T[c], x, y, z)
            if depth < -radius:
                told += says
                outside += says
                continue
            if depth < 2 * radius:  # the camera may be inside the ball
                unsure += 1
                continue
            # pixels that the ball covers around its centre, the obliqueness of wide pictures included
            f = max(K[c, 0, 0], K[c, 1, 1])
            a = (T[c, 0, 0] * x + T[c, 0, 1] * y + T[c, 0, 2] * z + T[c, 0, 3]) / depth
            b = (T[c, 1, 0] * x + T[c, 1, 1] * y + T[c, 1, 2] * z + T[c, 1, 3]) / depth
            reach = f * radius / (depth - radius) * (1 + np.sqrt(a * a + b * b)) + 2
            if not says or value == AWAY:
                u, v = K[c, 0, 0] * a + K[c, 0, 1] * b + K[c, 0, 2], K[c, 1, 1] * b + K[c, 1, 2]
                if -reach < u < views[c, 1] + reach and -reach < v < views[c, 0] + reach:
                    unsure += 1
                elif says:
                    told += 1
                    outside += 1
                continue
            told += 1
            if value < -reach:
                outside += 1
            elif value < reach:
                unsure += 1
        if outside > misses or told + unsure < min_views:
            result[n] = 0
        elif unsure > 0 or outside > 0 or told < min_views:
            result[n] = 1
        else:
            result[n] = 2
    return result


@njit(cache=True, parallel=True, nogil=True)
def outline_distance(places, count, distance, weight, outlines, views, K, T, low, high, voxel, misses, min_views):
    """Signed distance of every voxel from the hull in metres, positive outside, and weight 1.

    The hull is the intersection of the outlines' cones: the deepest cut decides, or the next but `misses`. A voxel
    that fewer than `min_views` pictures tell about is outside.
    """
    for block in prange(count):
        least = np.zeros(misses + 1)
        for e in range(CELLS):
            x = (places[block, 0] * SIDE + e // 64) * voxel
            y = (places[block, 1] * SIDE + (e // 8) % 8) * voxel
            z = (places[block, 2] * SIDE + e % 8) * voxel
            least[:] = 1e9
            told = 0
            for c in range(len(K)):
                outline = outlines[c, : views[c, 0], : views[c, 1]]
                value, says, depth = _look(outline, views[c, 2] > 0, K[c], T[c], x, y, z)
                if says:
                    told += 1
                    _keep_least(least, value * depth / (0.5 * (K[c, 0, 0] + K[c, 1, 1])))
            inside = least[misses] if told >= max(min_views, misses + 1) else -4 * voxel
            # the bounds cut like outlines
            inside = min(inside, x - low[0], y - low[1], z - low[2], high[0] - x, high[1] - y, high[2] - z)
            distance[block, e] = -min(max(inside, -4 * voxel), 4 * voxel)
            weight[block, e] = 1
