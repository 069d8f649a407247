"""Wavefront OBJ with a picture of its colours, as URDF readers and MuJoCo take it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from twin.mesh import Mesh

LEVELS = 32  # shades a channel in a palette
PALETTE = 256, 128  # width, height: LEVELS ** 3 cells


def write_obj(path: Path, mesh: Mesh) -> Path | None:
    """Write `path`, and beside it the .mtl and .png with its colours; returns the picture's path, None without colours.

    OBJ knows no colours of vertices, and MuJoCo none at all: each triangle's mean colour becomes a cell of a palette.
    """
    lines = ["# urdfit, metres"]
    if mesh.texture is not None or mesh.colors is not None:
        lines += [f"mtllib {path.stem}.mtl", "usemtl surface"]
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.vertices]
    corners = mesh.faces.astype(np.int64) + 1
    if mesh.texture is not None and mesh.uv is not None:
        lines += [f"vt {u:.6g} {v:.6g}" for u, v in mesh.uv]
        lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in corners]
        picture = mesh.texture
    elif mesh.colors is not None:
        cells, kept, picture = _palette(mesh)
        width, height = PALETTE
        lines += [f"vt {(k % width + 0.5) / width:.6g} {1 - (k // width + 0.5) / height:.6g}" for k in kept]
        lines += [f"f {a}/{t} {b}/{t} {c}/{t}" for (a, b, c), t in zip(corners, cells + 1)]
    else:
        lines += [f"f {a} {b} {c}" for a, b, c in corners]
        picture = None
    if picture is not None:
        _replace(path.with_suffix(".png"), cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        _replace(path.with_suffix(".mtl"), f"newmtl surface\nKd 1 1 1\nmap_Kd {path.stem}.png\n".encode())
    _replace(path, ("\n".join(lines) + "\n").encode())
    return None if picture is None else path.with_suffix(".png")


def _palette(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each triangle's cell among the kept ones (F,), the kept cells, and the palette (128,256,3)."""
    assert mesh.colors is not None
    mean = mesh.colors[mesh.faces].astype(float).mean(1)
    shade = (mean * LEVELS / 256).astype(np.int64)
    kept, cells = np.unique(shade @ [LEVELS * LEVELS, LEVELS, 1], return_inverse=True)
    all_cells = np.arange(LEVELS**3)
    channels = np.stack([all_cells // LEVELS**2, all_cells // LEVELS % LEVELS, all_cells % LEVELS], -1)
    picture = ((channels + 0.5) * 256 / LEVELS).astype(np.uint8).reshape(PALETTE[1], PALETTE[0], 3)
    return cells.reshape(-1), kept, picture


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
