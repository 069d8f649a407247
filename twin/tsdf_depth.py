"""Depth pictures made fit for fusion: wrong pixels taken out, every pixel's slant and trust."""

from __future__ import annotations

import numpy as np

GRAZING = 0.1  # cosine below which a surface is seen too flat for its depth to be believed


def clean_depth(
    depth: np.ndarray,
    ignore: np.ndarray | None = None,
    near: float = 0.1,
    far: float = 4.0,
    jump: float = 0.02,
    support: int = 4,
) -> np.ndarray:
    """Depth without what is not on a surface.

    A pixel stays if `support` of its eight neighbours are as far away as it is: on an edge of an object five are, on a
    corner three to four; flying pixels, between the front and the back, have fewer.

    Args:
        depth: (H,W) metres, 0 or not finite where unknown.
        ignore: (H,W) bool, pixels to leave out.
        near, far: metres of z that are believed.
        jump: two depths are the same surface if they differ by less than this part of the depth.

    Returns:
        (H,W) float32 metres, 0 where unknown.
    """
    z = np.nan_to_num(np.asarray(depth, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    z = np.where((z >= near) & (z <= far), z, 0)
    if ignore is not None:
        z[ignore] = 0
    z = fill_gaps(z, ignore, jump)
    agree = np.zeros(z.shape, np.int8)
    padded = np.pad(z, 1)
    tolerance = jump * z
    for dy in range(3):
        for dx in range(3):
            if dy != 1 or dx != 1:
                other = padded[dy : dy + z.shape[0], dx : dx + z.shape[1]]
                agree += (np.abs(other - z) < tolerance) & (other > 0)
    return np.where(agree >= support, z, 0).astype(np.float32)


def fill_gaps(depth: np.ndarray, ignore: np.ndarray | None, jump: float) -> np.ndarray:
    """Depth with gaps of one or two pixels closed where both sides are the same surface; edges do not move.

    Depth that was carried over to a colour camera of finer pixels has such gaps in rows and columns.
    """
    total = np.zeros(depth.shape, np.float32)
    weight = np.zeros(depth.shape, np.float32)
    w = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for back, ahead in ((1, 1), (1, 2), (2, 1)):
            a = _shifted(_shifted(w, -back * dy, 0), -back * dx, 1)
            b = _shifted(_shifted(w, ahead * dy, 0), ahead * dx, 1)
            same = (a > 0) & (b > 0) & (np.abs(a - b) < jump * np.maximum(a, b))
            total += np.where(same, (a * ahead + b * back) / (back + ahead), 0)
            weight += same
    gap = (depth <= 0) & (weight > 0)
    if ignore is not None:
        gap &= ~ignore
    return np.where(gap, weight / np.maximum(total, 1e-12), depth)


def slant(depth: np.ndarray, K: np.ndarray, jump: float = 0.02, window: int = 3) -> np.ndarray:
    """Cosine between the viewing ray and the surface's normal, (H,W) float32; 0 where it cannot be told.

    1/z is linear in the pixel on a plane: with w = 1/z and its slopes w_u, w_v the normal is along
    K^T (w_u, w_v, w - u w_u - v w_v). The slopes are the least-squares fit over the neighbours within `window` pixels
    that lie on the same surface.

    Args:
        depth: (H,W) metres, 0 where unknown. K: (3,3). jump: as in `clean_depth`.
    """
    known = depth > 0
    w = np.where(known, 1 / np.maximum(depth, 1e-6), 0)
    w_u, w_v = _slope(w, known, jump, window, 1), _slope(w, known, jump, window, 0)
    told = known & np.isfinite(w_u) & np.isfinite(w_v)
    w_u, w_v = np.where(told, w_u, 0), np.where(told, w_v, 0)
    v, u = np.indices(depth.shape, dtype=np.float32)
    normal = np.stack([w_u, w_v, w - u * w_u - v * w_v], -1) @ np.asarray(K, float)  # rows: (K^T n)^T = n^T K
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(np.asarray(K, float)).T
    length = np.linalg.norm(normal, axis=-1) * np.linalg.norm(rays, axis=-1)
    return np.where(told, np.clip(w / np.maximum(length, 1e-12), 0, 1), 0).astype(np.float32)


def _slope(w: np.ndarray, known: np.ndarray, jump: float, window: int, axis: int) -> np.ndarray:
    """Slope of w along an axis by least squares through the pixel itself; NaN without neighbours."""
    above = np.zeros(w.shape)
    below = np.zeros(w.shape)
    for step in range(1, window + 1):
        for sign in (-1, 1):
            other, other_known = _shifted(w, sign * step, axis), _shifted(known, sign * step, axis)
            near = other_known & known & (np.abs(other - w) < step * jump * np.maximum(w, other))
            above += np.where(near, sign * step * (other - w), 0)
            below += np.where(near, step * step, 0)
    return np.divide(above, below, out=np.full(w.shape, np.nan), where=below > 0)


def _shifted(values: np.ndarray, step: int, axis: int) -> np.ndarray:
    """values[i + step] at i, 0 beyond the picture."""
    moved = np.zeros_like(values)
    source = [slice(None), slice(None)]
    target = [slice(None), slice(None)]
    source[axis] = slice(max(step, 0), values.shape[axis] + min(step, 0))
    target[axis] = slice(max(-step, 0), values.shape[axis] - max(step, 0))
    moved[tuple(target)] = values[tuple(source)]
    return moved


def trust(depth: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Weight of every pixel, (H,W) float32: 1 for a surface that is met head-on at one metre.

    Stereo and structured light err with the square of the distance, more so where the surface is slanted (Nguyen et
    al., Modeling Kinect Sensor Noise, 2012). The errors of neighbouring pictures are not independent, so the weight
    falls with the square of the distance, not with the fourth power that independent errors would ask for.
    """
    weight = cosine / np.square(np.maximum(depth, 0.3))
    return np.where((depth > 0) & (cosine >= GRAZING), weight, 0).astype(np.float32)
