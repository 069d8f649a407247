"""Silhouettes on the processor: a supersampled z-buffer forwards, an exact boundary integral backwards.

The coverage is the mean of a square of point samples in the pixel. Its derivative is not that of the samples
(zero almost everywhere) but of the area they estimate, see `pose.boundary`.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import njit
from torch.autograd.function import once_differentiable

from pose.boundary import Boundary, EdgeTable, boundary_samples, edge_table
from pose.raster import draw, inverse_depth
from pose.seams import Seams, seam_samples, splat_seams

if TYPE_CHECKING:
    from urdf import RobotMesh

SAMPLES = 2048  # point samples over the longer side of an image: the error is that of a fixed share of the outline


@njit(cache=True, nogil=True)
def _draw_rows(uv, inv_z, faces, face_part, face_id, inv_depth, coverage, scale, row0, row1):
    """Draw pixel rows row0..row1-1 into the buffers and the parts' shares of the samples into coverage (2,H,W)."""
    face_id[row0 * scale : row1 * scale] = -1
    inv_depth[row0 * scale : row1 * scale] = 0
    draw(uv, inv_z, faces, face_id, inv_depth, row0 * scale, row1 * scale, scale)
    unit = np.float32(1.0 / (scale * scale))
    for y in range(row0, row1):
        for x in range(coverage.shape[2]):
            drawn, gripper = 0, 0
            for j in range(y * scale, (y + 1) * scale):
                for i in range(x * scale, (x + 1) * scale):
                    f = face_id[j, i]
                    if f >= 0:
                        drawn += 1
                        gripper += face_part[f]
            coverage[0, y, x] = (drawn - gripper) * unit
            coverage[1, y, x] = gripper * unit


@njit(cache=True, nogil=True)
def _splat(grad_uv, grad, x, y, nx, ny, length, v0, v1, t, part_in, part_out):
    """Add dL/duv of the samples to grad_uv (V,2), for dL/dcoverage in grad (2,H,W)."""
    for k in range(len(x)):
        column, row = int(x[k] + 0.5), int(y[k] + 0.5)
        change = grad[part_in[k], row, column]
        if part_out[k] >= 0:
            change -= grad[part_out[k], row, column]
        change *= length[k]
        a, b = change * (1 - t[k]), change * t[k]
        grad_uv[v0[k], 0] += a * nx[k]
        grad_uv[v0[k], 1] += a * ny[k]
        grad_uv[v1[k], 0] += b * nx[k]
        grad_uv[v1[k], 1] += b * ny[k]


def _window(uv: np.ndarray, inv_z: np.ndarray, height: int, width: int) -> tuple[int, int, int, int] | None:
    """x, y, width, height of the part of the image that the visible vertices span with a margin of one pixel."""
    seen = uv[inv_z > 0]
    if len(seen) == 0:
        return None
    low = np.maximum(np.floor(seen.min(0)) - 1, 0)
    high = np.minimum(np.ceil(seen.max(0)) + 1, (width - 1, height - 1))
    if not (low <= high).all():
        return None
    x, y = (int(v) for v in low)
    return x, y, int(high[0]) - x + 1, int(high[1]) - y + 1


_local = threading.local()


def _buffers(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unset buffers of a thread for face ids and inverse depth: fresh memory would cost as much as the drawing."""
    size = height * width
    if getattr(_local, "size", 0) < size:
        _local.size, _local.face_id, _local.inv_depth = size, np.empty(size, np.int32), np.empty(size, np.float32)
    return _local.face_id[:size].reshape(height, width), _local.inv_depth[:size].reshape(height, width)


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="silhouette")


def _in_threads(task: Any, count: int) -> list[Any]:
    """task(0..count-1), as many at once as torch uses threads; the compiled loops release the interpreter."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        return [task(i) for i in range(count)]
    return list(_pool(threads).map(task, range(count)))


class _Coverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, uv, z, faces, edges, face_part, height, width, scale):  # type: ignore[no-untyped-def]
        pixels = np.ascontiguousarray(uv.detach().cpu().numpy(), np.float32)
        inv_z = inverse_depth(z.detach().cpu().numpy())
        coverage = np.zeros((len(pixels), 2, height, width), np.float32)

        def render(i: int) -> tuple[Boundary, Seams] | None:
            window = _window(pixels[i], inv_z[i], height, width)
            if window is None:
                return None
            x, y, w, h = window
            uv_window = pixels[i] - np.array([x, y], np.float32)
            face_id, inv_depth = _buffers(h * scale, w * scale)
            target = coverage[i, :, y : y + h, x : x + w]
            bands = torch.get_num_threads() if len(pixels) == 1 else 1  # several images already share the threads

            def draw_band(band: int) -> None:
                rows = band * h // bands, (band + 1) * h // bands
                _draw_rows(uv_window, inv_z[i], faces, face_part, face_id, inv_depth, target, scale, *rows)

            _in_threads(draw_band, bands)
            if not any(ctx.needs_input_grad[:2]):
                return None
            owner = np.zeros((2, *face_id.shape), np.int32)
            boundary = boundary_samples(uv_window, inv_z[i], edges, face_id, inv_depth, face_part, scale, owner)
            seams = seam_samples(uv_window, inv_z[i], faces, face_id, face_part, scale, owner)
            return (
                boundary._replace(x=boundary.x + x, y=boundary.y + y),
                seams._replace(x=seams.x + x, y=seams.y + y),
            )

        ctx.inv_z = inv_z
        ctx.samples = _in_threads(render, len(pixels))
        ctx.like = uv.dtype, uv.device
        return torch.from_numpy(coverage).to(uv.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output):  # type: ignore[no-untyped-def]
        dtype, device = ctx.like
        grad = np.ascontiguousarray(grad_output.detach().cpu().numpy(), np.float32)
        grad_uv, grad_w = np.zeros((*ctx.inv_z.shape, 2)), np.zeros(ctx.inv_z.shape)
        for i, found in enumerate(ctx.samples):
            if found is None:
                continue
            boundary, seams = found
            _splat(grad_uv[i], grad[i], *boundary)
            splat_seams(grad_uv[i], grad_w[i], grad[i], *seams)
        grad_z = -grad_w * ctx.inv_z**2
        return torch.from_numpy(grad_uv).to(device, dtype), torch.from_numpy(grad_z).to(device, dtype), *[None] * 6


@dataclass(frozen=True)
class CpuBackend:
    """The default. Tensors on a GPU are taken to the processor and the result back.

    Attributes:
        samples: point samples a pixel side; 0 takes 4 to 16, fewer for larger images.
    """

    samples: int = 0

    def coverage(
        self,
        uv: torch.Tensor,
        z: torch.Tensor,
        mesh: RobotMesh,
        face_part: np.ndarray,
        height: int,
        width: int,
    ) -> torch.Tensor:
        """See `pose.backends.Backend.coverage`."""
        faces = np.ascontiguousarray(mesh.faces, np.int32)
        parts = np.ascontiguousarray(face_part, np.int8)
        edges: EdgeTable = edge_table(mesh)
        scale = self.samples or min(max(SAMPLES // max(height, width), 4), 16)
        return _Coverage.apply(uv, z, faces, edges, parts, height, width, scale)
