"""Silhouettes by pytorch3d's soft rasteriser (Liu et al. 2019, "Soft Rasterizer"): optional, for GPUs.

Coverage is soft: a triangle reaches a little beyond its edges, with a sigmoid of the squared distance over `sigma`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
from pytorch3d.renderer.blending import BlendParams, softmax_rgb_blend
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes

from pose.raster import NEAR

if TYPE_CHECKING:
    from urdf import RobotMesh


@dataclass(frozen=True)
class Pytorch3dBackend:
    """pytorch3d's soft rasteriser on the tensors' own device.

    Attributes:
        sigma: width of the edges, in the square of pytorch3d's image units (the shorter side is 2).
        gamma: how sharply the nearer of two triangles hides the other, in the depth range of the mesh.
        faces_per_pixel: triangles blended in a pixel.
    """

    sigma: float = 1e-5
    gamma: float = 1e-4
    faces_per_pixel: int = 8

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
        faces = torch.as_tensor(np.ascontiguousarray(mesh.faces), dtype=torch.int64, device=uv.device)
        part = torch.as_tensor(np.asarray(face_part), dtype=torch.int64, device=uv.device)
        # pytorch3d looks along +z with x to the left and y up; the shorter side of the image spans -1..1
        unit = 2.0 / min(height, width)
        x = -(uv[..., 0] - (width - 1) / 2) * unit
        y = -(uv[..., 1] - (height - 1) / 2) * unit
        verts = torch.stack([x, y, z], -1).float()
        kept = [(z[i][faces] > NEAR).all(1) for i in range(len(z))]
        drawn = [faces[keep] for keep in kept]
        meshes = Meshes(list(verts), drawn)
        if sum(len(f) for f in drawn) == 0:
            return (verts.sum() * 0).expand(len(z), 2, height, width)
        pix_to_face, zbuf, _, dists = rasterize_meshes(
            meshes,
            image_size=(height, width),
            blur_radius=float(np.log(1 / 1e-4 - 1) * self.sigma),
            faces_per_pixel=self.faces_per_pixel,
            perspective_correct=False,
        )
        part_of_drawn = torch.cat([part[keep] for keep in kept])
        hit = pix_to_face.clamp(min=0)
        gripper = part_of_drawn[hit].to(verts.dtype)
        colors = torch.stack([1 - gripper, gripper, torch.zeros_like(gripper)], -1)
        fragments = SimpleNamespace(pix_to_face=pix_to_face, zbuf=zbuf, dists=dists)
        depth = z.detach()[z.detach() > NEAR]
        near, far = max(NEAR, 0.9 * float(depth.min())), 1.1 * float(depth.max())
        blend = BlendParams(sigma=self.sigma, gamma=self.gamma, background_color=(0.0, 0.0, 0.0))
        image = softmax_rgb_blend(colors, fragments, blend, znear=near, zfar=far)
        # the blending's own background weight is a fixed epsilon: scale the parts to the soft union of the triangles
        share = image[..., :2] / image[..., :2].sum(-1, keepdim=True).clamp(min=1e-8)
        return (share * image[..., 3:4]).permute(0, 3, 1, 2).clamp(0, 1)
