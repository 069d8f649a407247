"""A z-buffer rasteriser: which triangle each pixel centre sees, on the CPU, with no preparation of the mesh.

Everything that draws a robot stands on it: silhouettes, boundaries for the fit, shaded pictures. Vertices come
projected, so that any camera model works; depth is kept as 1/z, which is linear in the image.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

NEAR = 1e-3  # metres; triangles that reach behind this plane are dropped


@njit(cache=True, fastmath=True, nogil=True)
def draw(uv, inv_z, faces, face_id, inv_depth, row0, row1, scale):
    """Draw triangles into rows row0..row1-1 of the buffers; `scale` samples a pixel side.

    uv (V,2) pixels of the unscaled image, inv_z (V,) 1/z with values <= 0 behind the camera, faces (F,3).
    """
    width = face_id.shape[1]
    shift = 0.5 * scale - 0.5
    for f in range(faces.shape[0]):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        # corners from top to bottom: most triangles lie between two rows, and that is then soon known
        if uv[i1, 1] < uv[i0, 1]:
            i0, i1 = i1, i0
        if uv[i2, 1] < uv[i0, 1]:
            i0, i2 = i2, i0
        if uv[i2, 1] < uv[i1, 1]:
            i1, i2 = i2, i1
        y0, y2 = uv[i0, 1] * scale + shift, uv[i2, 1] * scale + shift
        if y2 < row0 or y0 > row1 - 1:
            continue
        ya = max(row0, int(np.ceil(y0)))
        yb = min(row1, int(np.ceil(y2)))
        if ya >= yb:
            continue
        w0, w1, w2 = inv_z[i0], inv_z[i1], inv_z[i2]
        if w0 <= 0 or w1 <= 0 or w2 <= 0:
            continue
        x0, x1, x2 = uv[i0, 0] * scale + shift, uv[i1, 0] * scale + shift, uv[i2, 0] * scale + shift
        if min(x0, x1, x2) > width - 1 or max(x0, x1, x2) < 0:
            continue
        y1 = uv[i1, 1] * scale + shift
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        # 1/z over the triangle's plane: w0 + gx (x - x0) + gy (y - y0)
        share = 1.0 / area
        gx = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) * share
        gy = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) * share
        across = (x2 - x0) / (y2 - y0)
        upper = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
        lower = (x2 - x1) / (y2 - y1) if y2 > y1 else 0.0
        for y in range(ya, yb):
            # the row's span: between the edge from top to bottom and one of the two others
            xa = x0 + (y - y0) * across
            xb = x0 + (y - y0) * upper if y < y1 else x1 + (y - y1) * lower
            if xb < xa:
                xa, xb = xb, xa
            if xb < 0 or xa > width - 1:
                continue
            first, last = max(0, int(np.ceil(xa))), min(width - 1, int(np.floor(xb)))
            w = w0 + gx * (first - x0) + gy * (y - y0)
            for x in range(first, last + 1):
                if w > inv_depth[y, x]:
                    inv_depth[y, x] = w
                    face_id[y, x] = f
                w += gx


@njit(cache=True, parallel=True, nogil=True)
def _draw_bands(uv, inv_z, faces, face_id, inv_depth, bands, scale):
    height = face_id.shape[1]
    for job in prange(face_id.shape[0] * bands):
        image, band = job // bands, job % bands
        draw(
            uv[image], inv_z[image], faces, face_id[image], inv_depth[image],
            band * height // bands, (band + 1) * height // bands, scale,
        )  # fmt: skip


def inverse_depth(z: np.ndarray) -> np.ndarray:
    """1/z as float32, 0 for points nearer than NEAR or behind the camera (the rasteriser drops their triangles)."""
    return np.where(z > NEAR, 1.0 / np.maximum(z, NEAR), 0.0).astype(np.float32)


def rasterize(
    uv: np.ndarray, inv_z: np.ndarray, faces: np.ndarray, height: int, width: int, scale: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at every pixel centre.

    Args:
        uv: (V,2) or (B,V,2) float32 pixel coordinates (centres at whole numbers).
        inv_z: (V,) or (B,V) float32 inverse depth in 1/m, see `inverse_depth`.
        faces: (F,3) int32; either winding.
        height, width: image size; `scale` samples a pixel side are drawn, so outputs are scale times larger.

    Returns:
        face_id (...,H*scale,W*scale) int32 with -1 where nothing is seen, and the inverse depth in 1/m, 0 there.
    """
    single = uv.ndim == 2
    uv = np.ascontiguousarray(uv[None] if single else uv, np.float32)
    inv_z = np.ascontiguousarray(inv_z[None] if single else inv_z, np.float32)
    face_id = np.full((len(uv), height * scale, width * scale), -1, np.int32)
    inv_depth = np.zeros(face_id.shape, np.float32)
    bands = max(1, get_num_threads() // len(uv)) if len(uv) else 1
    _draw_bands(uv, inv_z, np.ascontiguousarray(faces, np.int32), face_id, inv_depth, bands, scale)
    return (face_id[0], inv_depth[0]) if single else (face_id, inv_depth)
