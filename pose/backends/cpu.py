"""Silhouettes on the processor: a supersampled z-buffer forwards, an exact boundary integral backwards.

The coverage is the mean of SAMPLES x SAMPLES point samples a pixel. Its derivative is not that of the samples
(zero almost everywhere) but of the area they estimate, see `pose.boundary`.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from urdf import RobotMesh

SAMPLES = 4  # point samples a pixel side


@njit(cache=True, nogil=True)
def _average(face_id, face_part, scale, coverage):
    """Share of the scale x scale samples of every pixel that show part p, into coverage (2,H,W) zeros."""
    unit = np.float32(1.0 / (scale * scale))
    for y in range(face_id.shape[0]):
        for x in range(face_id.shape[1]):
            f = face_id[y, x]
            if f >= 0:
                coverage[face_part[f], y // scale, x // scale] += unit


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


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="silhouette")


def _each_image(task: Any, count: int) -> list[Any]:
    """task(0..count-1), as many at once as torch uses threads; the compiled loops release the interpreter."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        return [task(i) for i in range(count)]
    return list(_pool(threads).map(task, range(count)))


class _Coverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, uv, z, faces, edges, face_part, height, width, samples):  # type: ignore[no-untyped-def]
        pixels = np.ascontiguousarray(uv.detach().cpu().numpy(), np.float32)
        inv_z = inverse_depth(z.detach().cpu().numpy())
        coverage = np.zeros((len(pixels), 2, height, width), np.float32)

        def render(i: int) -> Boundary | None:
            face_id = np.full((height * samples, width * samples), -1, np.int32)
            inv_depth = np.zeros(face_id.shape, np.float32)
            draw(pixels[i], inv_z[i], faces, face_id, inv_depth, 0, len(face_id), samples)
            _average(face_id, face_part, samples, coverage[i])
            if not ctx.needs_input_grad[0]:
                return None
            return boundary_samples(pixels[i], inv_z[i], edges, face_id, inv_depth, face_part, samples)

        ctx.boundaries = _each_image(render, len(pixels))
        ctx.uv = uv.shape, uv.dtype, uv.device
        return torch.from_numpy(coverage).to(uv.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output):  # type: ignore[no-untyped-def]
        shape, dtype, device = ctx.uv
        grad = np.ascontiguousarray(grad_output.detach().cpu().numpy(), np.float32)
        grad_uv = np.zeros(shape)
        for i, boundary in enumerate(ctx.boundaries):
            _splat(grad_uv[i], grad[i], *boundary)
        return torch.from_numpy(grad_uv).to(device, dtype), *[None] * 7


@dataclass(frozen=True)
class CpuBackend:
    """The default. Tensors on a GPU are taken to the processor and the result back.

    Attributes:
        samples: point samples a pixel side.
    """

    samples: int = SAMPLES

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
        return _Coverage.apply(uv, z, faces, edges, parts, height, width, self.samples)
