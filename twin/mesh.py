"""A triangle mesh as arrays, and its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from twin.errors import TwinError

MOST_PIXELS = 67_108_864  # of a texture that is read: 8192 squared


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles whose normals point outwards.

    Attributes:
        vertices: (V,3) float64, metres.
        faces: (F,3) int32.
        colors: (V,3) uint8 sRGB, or None.
        uv: (V,2) in 0..1 with v upwards, or None. texture: (h,w,3) uint8 sRGB, or None; both or neither.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None

    def transformed(self, T_a_b: np.ndarray) -> Mesh:
        """The same mesh in other coordinates: vertices of b into a, by a rigid (4,4) motion."""
        return replace(self, vertices=self.vertices @ T_a_b[:3, :3].T + T_a_b[:3, 3])

    def to_trimesh(self) -> trimesh.Trimesh:
        """The mesh for trimesh, vertices in the same order."""
        mesh = trimesh.Trimesh(self.vertices, self.faces, process=False)
        if self.texture is not None:
            from PIL import Image

            image = Image.fromarray(self.texture)
            material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, metallicFactor=0, roughnessFactor=1)
            mesh.visual = trimesh.visual.TextureVisuals(uv=self.uv, material=material)
        elif self.colors is not None:
            mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=self.colors)
        return mesh

    def save(self, path: str | Path) -> None:
        """Write .ply, .glb, .obj or .stl, by the name; whole or not at all."""
        path = Path(path)
        temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
        try:
            self.to_trimesh().export(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Mesh:
        """Read a mesh file.

        Raises:
            TwinError: no such file, or no triangles in it.
        """
        path = Path(path)
        if not path.is_file():
            raise TwinError(f"{path}: no such mesh file")
        try:
            loaded = trimesh.load_mesh(path, process=False)
        except Exception as error:  # trimesh lets anything through from its many readers
            raise TwinError(f"{path}: not a readable mesh ({error})") from None
        if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.faces):
            raise TwinError(f"{path}: holds no triangles")
        colors, uv, texture = None, None, None
        if isinstance(loaded.visual, trimesh.visual.TextureVisuals):
            uv, texture = _texture(loaded, path)
        elif isinstance(loaded.visual, trimesh.visual.ColorVisuals) and loaded.visual.kind == "vertex":
            colors = np.asarray(loaded.visual.vertex_colors)[:, :3]
        return cls(np.asarray(loaded.vertices, float), np.asarray(loaded.faces, np.int32), colors, uv, texture)


def _texture(loaded: trimesh.Trimesh, path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Coordinates and picture of a file with a texture; None and None where one of them is missing."""
    visual: Any = loaded.visual
    image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
    if image is None or visual.uv is None or len(visual.uv) != len(loaded.vertices):
        return None, None
    if image.width * image.height > MOST_PIXELS:
        raise TwinError(f"{path}: its texture has {image.width}x{image.height} pixels, more than {MOST_PIXELS}")
    try:
        return np.asarray(visual.uv, float), np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise TwinError(f"{path}: its texture cannot be read ({error})") from None
