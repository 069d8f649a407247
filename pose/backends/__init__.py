"""Differentiable rasterisers behind one small interface."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from pose.errors import CameraError

if TYPE_CHECKING:
    from urdf import RobotMesh

BACKENDS = ("cpu", "pytorch3d")


class Backend(Protocol):
    """What a renderer of part silhouettes does."""

    def coverage(
        self,
        uv: torch.Tensor,
        z: torch.Tensor,
        mesh: RobotMesh,
        face_part: np.ndarray,
        height: int,
        width: int,
    ) -> torch.Tensor:
        """How much of every pixel shows each part, nearer parts hiding those behind.

        Args:
            uv: (B,V,2) projected vertices in pixels, centres at whole numbers; gradients flow to it.
            z: (B,V) depth of the vertices in metres, along the optical axis.
            mesh: its `faces` (F,3) are drawn, without those that reach nearer than 1 mm.
            face_part: (F,) int8, 0 arm, 1 gripper.

        Returns:
            (B,2,H,W) float32 in [0,1]: arm, gripper.
        """
        ...


@lru_cache(maxsize=1)
def _has_pytorch3d() -> bool:
    return find_spec("pytorch3d") is not None


def get_backend(name: str = "auto", device: torch.device | str = "cpu") -> Backend:
    """The backend of a name: `cpu`, `pytorch3d`, or `auto`.

    `auto` takes pytorch3d for tensors on a GPU when it is importable, and `cpu` otherwise: on a processor
    pytorch3d is some hundred times slower.

    Raises:
        CameraError: no such backend, or it is not installed.
    """
    if name == "auto":
        name = "pytorch3d" if torch.device(device).type == "cuda" and _has_pytorch3d() else "cpu"
    if name == "cpu":
        from pose.backends.cpu import CpuBackend

        return CpuBackend()
    if name == "pytorch3d":
        if not _has_pytorch3d():
            raise CameraError("rendering backend pytorch3d is not installed; install it or use backend='cpu'")
        from pose.backends.pytorch3d import Pytorch3dBackend

        return Pytorch3dBackend()
    raise CameraError(f"unknown rendering backend {name!r}; expected auto or one of {', '.join(BACKENDS)}")
