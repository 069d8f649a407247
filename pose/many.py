"""Thousands of low-resolution guesses looked at together: on the processor's cores, or on a GPU where there is one.

Both draw the same picture. On a GPU the boxes around all triangles of many guesses are cut into tiles of one size,
every pixel of every tile is held against its triangle - barycentric coordinates and 1/z are linear in the image - and
the nearest triangle of a pixel is the largest of numbers that begin with 1/z.
"""

from __future__ import annotations

import numpy as np
import torch

from pose import kernel
from pose.kernel import Model
from pose.raster import NEAR

AT_ONCE = 2**19  # triangles of guesses that are held in memory together
TILE = 6  # pixels: most triangles of a small picture need one tile
FLAT = 1e-9  # twice the area of a triangle that is seen edge-on


def overlaps(
    model: Model, q: np.ndarray, T_cam_base: np.ndarray, K: np.ndarray, targets: np.ndarray, frame: np.ndarray,
    channels: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Soft intersection over union (N,C) of N guesses with small masks, on a GPU if torch has one.

    Args:
        q: (N,n) joints; T_cam_base: (N,4,4); K: (N,3,3) for the masks' size.
        targets: (T,C,H,W) masks; frame: (N,) the one that each guess is held against.
        channels: (C,G) what each label of links counts in a channel.
    """
    if torch.cuda.is_available():
        return overlaps_on("cuda", model, q, T_cam_base, K, targets, frame, channels)
    return kernel.overlaps(model, q, T_cam_base, K, targets, frame, channels)


@torch.no_grad()
def overlaps_on(
    device: str, model: Model, q: np.ndarray, T_cam_base: np.ndarray, K: np.ndarray, targets: np.ndarray,
    frame: np.ndarray, channels: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The same on any device of torch."""

    def there(array: np.ndarray, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=kind, device=device)

    height, width = targets.shape[2:]
    masks, shares = there(targets).flatten(2), there(channels)
    faces, vertices = there(model.faces, torch.int64), there(model.vertices)
    vertex_link, face_part = there(model.vertex_link, torch.int64), there(model.face_part, torch.int64)
    shares = torch.cat([shares, torch.zeros_like(shares[:, :1])], 1)  # of what shows nothing
    parts = torch.cat([face_part, face_part.new_tensor([shares.shape[1] - 1])])
    out = []
    size = max(1, AT_ONCE // len(faces))
    for some in np.split(np.arange(len(q)), np.arange(size, len(q), size)):
        T = link_poses(model, there(q[some]), there(T_cam_base[some]))[:, vertex_link]
        points = (T[..., :3, :3] @ vertices[:, :, None])[..., 0] + T[..., :3, 3]
        seen = nearest(points, there(K[some]), faces, height, width)
        value = shares[:, parts[seen]].transpose(0, 1)
        mask = masks[there(frame[some], torch.int64)]
        out.append(torch.minimum(value, mask).sum(2) / (torch.maximum(value, mask).sum(2) + 1e-6))
    return torch.cat(out).double().cpu().numpy()


def link_poses(model: Model, q: torch.Tensor, T_cam_base: torch.Tensor) -> torch.Tensor:
    """(N,L,4,4) poses of the links in the cameras at joints q (N,n)."""
    poses: list[torch.Tensor] = []
    for link in range(len(model.parent)):
        before = T_cam_base if model.parent[link] < 0 else poses[model.parent[link]]
        joint = before @ torch.as_tensor(model.origin[link], dtype=q.dtype, device=q.device)
        if model.kind[link] == 0:
            poses.append(joint)
            continue
        value = torch.full_like(q[:, 0], float(model.offset[link]))
        if model.q_index[link] >= 0:
            value = value + float(model.multiplier[link]) * q[:, model.q_index[link]]
        axis = torch.as_tensor(model.axis[link], dtype=q.dtype, device=q.device)
        motion = torch.eye(4, dtype=q.dtype, device=q.device).repeat(len(q), 1, 1)
        if model.kind[link] == 1:
            cross = torch.linalg.cross(torch.eye(3, dtype=q.dtype, device=q.device), axis.expand(3, 3))
            sine, cosine = value.sin()[:, None, None], value.cos()[:, None, None]
            motion[:, :3, :3] += sine * cross + (1 - cosine) * (cross @ cross)  # Rodrigues' formula
        else:
            motion[:, :3, 3] = value[:, None] * axis
        poses.append(joint @ motion)
    return torch.stack(poses, 1)


def nearest(points: torch.Tensor, K: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(N,H*W) the triangle that each pixel sees, as many as there are where it sees none.

    Args:
        points: (N,V,3) vertices in the camera; K: (N,3,3); faces: (F,3).
    """
    ahead = points[..., 2] > NEAR
    w = torch.where(ahead, 1 / points[..., 2].clamp_min(NEAR), 0.0)
    u = K[:, 0, 0, None] * points[..., 0] * w + K[:, 0, 2, None]
    v = K[:, 1, 1, None] * points[..., 1] * w + K[:, 1, 2, None]
    x, y, w = u[:, faces], v[:, faces], w[:, faces]  # (N,F,3)
    nx, ny = x.roll(-1, -1), y.roll(-1, -1)
    mx, my = x.roll(-2, -1), y.roll(-2, -1)
    area = (x * (ny - my) + nx * (my - y) + mx * (y - ny))[..., 0]
    left, right = x.amin(-1).ceil().clamp(0, width), x.amax(-1).floor().clamp(-1, width - 1)
    top, bottom = y.amin(-1).ceil().clamp(0, height), y.amax(-1).floor().clamp(-1, height - 1)
    drawn = ahead[:, faces].all(-1) & (area.abs() > FLAT) & (left <= right) & (top <= bottom)
    guess, face = drawn.nonzero(as_tuple=True)
    corner = torch.stack([ny - my, mx - nx, nx * my - mx * ny], -1)[guess, face] / area[guess, face, None, None]
    lines = torch.cat([corner, (w[guess, face][..., None] * corner).sum(1, keepdim=True)], 1)  # (M,4,3) of x, y, 1
    left, top, right, bottom = (side[guess, face].long() for side in (left, top, right, bottom))
    across, down = (right - left) // TILE + 1, (bottom - top) // TILE + 1
    of = torch.repeat_interleave(across * down)  # the triangle of every tile
    number = torch.arange(len(of), device=of.device) - ((across * down).cumsum(0) - across * down)[of]
    step = torch.arange(TILE, device=of.device)
    px = (left[of] + number % across[of] * TILE)[:, None, None] + step  # (tiles,1,TILE)
    py = (top[of] + number // across[of] * TILE)[:, None, None] + step[:, None]
    line = lines[of][:, :, :, None, None]
    at = line[:, :, 0] * px[:, None] + line[:, :, 1] * py[:, None] + line[:, :, 2]  # (tiles,4,TILE,TILE)
    inside = (at[:, :3].amin(1) >= 0) & (px < width) & (py < height) & (at[:, 3] > 0)
    tile = inside.nonzero(as_tuple=True)[0]
    place = ((guess[of][:, None, None] * height + py) * width + px)[inside]
    # bits of positive floats are ordered as the numbers are
    key = (at[:, 3][inside].view(torch.int32).long() << 32) + face[of][tile]
    seen = torch.full((len(points) * height * width,), len(faces), dtype=torch.int64, device=points.device)
    seen.scatter_reduce_(0, place, key, "amax")
    return (seen & 0xFFFFFFFF).reshape(len(points), -1)
