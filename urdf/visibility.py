"""How much of a mesh can be seen from outside: motors, screws and inner shells of CAD models cannot.

The mesh is drawn into depth buffers by parallel projection along directions spread evenly over the sphere.
"""

from __future__ import annotations

import os
from functools import lru_cache
from threading import Thread

import numpy as np
from numba import njit

DIRECTIONS = 64
MAX_THREADS = 4
PIXELS = 40_000  # of a picture, at most
FINEST = 0.0006  # metres, of a pixel
NEAR = 2.0  # pixels; a triangle smaller than a pixel counts as seen when this near behind what the pixel shows


@lru_cache(maxsize=1)
def views() -> np.ndarray:
    """(DIRECTIONS,3,3) float32 R_view_body whose last rows spread evenly: a spiral of golden angles."""
    k = np.arange(DIRECTIONS) + 0.5
    z, turn = 1 - 2 * k / DIRECTIONS, np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    back = np.column_stack([r * np.cos(turn), r * np.sin(turn), z])
    right = np.column_stack([-np.sin(turn), np.cos(turn), np.zeros(DIRECTIONS)])
    return np.stack([right, np.cross(back, right), back], axis=1).astype(np.float32)


def exposure(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of every triangle, and how often it lies on the outline.

    Args:
        vertices: (V,3) metres, of one rigid body.
        faces: (F,3); both sides count.

    Returns:
        seen (F,) float64, square metres seen, mean over the directions; 0 for triangles that no direction shows.
        outline (F,) float64, square metres of the pixels in which the triangle is the body's outline, likewise.
    """
    points = np.ascontiguousarray(vertices - vertices.mean(axis=0), np.float32)
    corners = np.ascontiguousarray(faces, np.int32)
    parts = np.array_split(views(), min(os.cpu_count() or 1, MAX_THREADS))
    results = [np.zeros((2, len(faces))) for _ in parts]
    jobs = [Thread(target=_expose, args=(points, corners, part, *r)) for part, r in zip(parts, results)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    total = np.sum(results, axis=0) / DIRECTIONS
    return total[0], total[1]


@njit(cache=True, nogil=True)
def _expose(points, faces, views, seen, outline):
    for i in range(views.shape[0]):
        _expose_one(points, faces, views[i], seen, outline)


@njit(cache=True, nogil=True)
def _expose_one(points, faces, R, seen, outline):
    """Draw nearest triangles into a picture, depth growing towards the viewer, and count their pixels."""
    uvw = points @ R.T
    left, right = uvw[:, 0].min(), uvw[:, 0].max()
    top, bottom = uvw[:, 1].min(), uvw[:, 1].max()
    longest = max(right - left, bottom - top)
    pixel = max(np.sqrt(max((right - left) * (bottom - top), longest * longest / 100) / PIXELS), FINEST)
    width, height = int((right - left) / pixel) + 4, int((bottom - top) / pixel) + 4
    uvw[:, 0] = (uvw[:, 0] - left) / pixel + 1.5
    uvw[:, 1] = (uvw[:, 1] - top) / pixel + 1.5
    nearest = np.full((height, width), np.float32(-1e30))
    owner = np.full((height, width), -1, np.int32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = uvw[a, 0], uvw[a, 1], uvw[b, 0], uvw[b, 1], uvw[c, 0], uvw[c, 1]
        low, high = np.ceil(min(y0, y1, y2)), np.floor(max(y0, y1, y2))
        if low > high or np.ceil(min(x0, x1, x2)) > np.floor(max(x0, x1, x2)):
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        w0, w1, w2 = uvw[a, 2], uvw[b, 2], uvw[c, 2]
        gx = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) / area
        gy = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) / area
        for y in range(int(low), int(high) + 1):
            xa, xb = np.float32(1e30), np.float32(-1e30)
            if (y0 <= y) != (y1 <= y):
                x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                xa, xb = min(xa, x), max(xb, x)
            if (y1 <= y) != (y2 <= y):
                x = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
                xa, xb = min(xa, x), max(xb, x)
            if (y2 <= y) != (y0 <= y):
                x = x2 + (y - y2) * (x0 - x2) / (y0 - y2)
                xa, xb = min(xa, x), max(xb, x)
            if xb < xa:
                continue
            for column in range(int(np.ceil(xa)), int(np.floor(xb)) + 1):
                w = w0 + gx * (column - x0) + gy * (y - y0)
                if w > nearest[y, column]:
                    nearest[y, column] = w
                    owner[y, column] = f
    square = pixel * pixel
    shown = np.zeros(faces.shape[0], np.bool_)
    for y in range(height):
        for x in range(width):
            f = owner[y, x]
            if f >= 0:
                seen[f] += square
                shown[f] = True
                if owner[y - 1, x] < 0 or owner[y + 1, x] < 0 or owner[y, x - 1] < 0 or owner[y, x + 1] < 0:
                    outline[f] += square
    # triangles between the pixels' centres: seen when their middle is where the pixel's surface is
    for f in range(faces.shape[0]):
        if shown[f]:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = uvw[a, 0], uvw[a, 1], uvw[b, 0], uvw[b, 1], uvw[c, 0], uvw[c, 1]
        if max(x0, x1, x2) - min(x0, x1, x2) > 2 or max(y0, y1, y2) - min(y0, y1, y2) > 2:
            continue
        x, y = int((x0 + x1 + x2) / 3 + 0.5), int((y0 + y1 + y2) / 3 + 0.5)
        if (uvw[a, 2] + uvw[b, 2] + uvw[c, 2]) / 3 > nearest[y, x] - NEAR * pixel:
            seen[f] += square * abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
