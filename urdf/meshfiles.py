"""One mesh file, or one primitive, to triangles with colours."""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from trimesh.resolvers import Resolver

from urdf import meshlimits
from urdf.description import Visual
from urdf.errors import RobotError
from urdf.paths import MAX_MESH_BYTES

GREY = 0.7
RING = 32  # corners of a primitive's circle
logging.getLogger("trimesh").addHandler(logging.NullHandler())  # it prints tracebacks of what we report in one line


@dataclass(frozen=True)
class Surface:
    """Vertices (V,3) metres, faces (F,3), color (F,3) rgb in 0..1; `own_color` when the file gave it."""

    vertices: np.ndarray
    faces: np.ndarray
    color: np.ndarray
    own_color: bool


def load_mesh(path: Path, where: str) -> Surface:
    """Read a mesh file. COLLADA units are applied, its up axis is not: URDF readers (RViz) agree on this.

    Raises:
        RobotError: the file is no mesh, holds no triangle, or a vertex that is not finite.
    """
    data = path.read_bytes()
    kind = path.suffix.lower().lstrip(".")
    if kind == "dae" and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise RobotError(f"{where}: mesh {path} declares a document type or entities, which is not accepted")
    if kind == "stl" and (soup := _binary_stl(data)) is not None:
        return _checked(soup, path, where)
    try:
        meshlimits.check(data, kind)
        scene: Any = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=_Beside(path), process=False)
        used = (scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry)
        if sum(len(getattr(g, "faces", ())) for g in used) > meshlimits.MAX_TRIANGLES:
            raise ValueError(f"more than {meshlimits.MAX_TRIANGLES} triangles")
        pieces: list[Any] = scene.dump(concatenate=False)
    except Exception as error:  # the readers raise anything on a broken file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise RobotError(f"{where}: mesh {path} could not be read ({reason})") from None
    pieces = [p for p in pieces if isinstance(p, trimesh.Trimesh) and len(p.faces)]
    if not pieces:
        raise RobotError(f"{where}: mesh {path} holds no triangle")
    vertices = np.concatenate([np.asarray(p.vertices, float) for p in pieces]) * _unit(scene)
    starts = np.cumsum([0] + [len(p.vertices) for p in pieces[:-1]])
    faces = np.concatenate([np.asarray(p.faces, np.int64) + start for p, start in zip(pieces, starts)])
    colors = [_color(p) for p in pieces]
    known = any(c is not None for c in colors)
    color = np.concatenate([np.full((len(p.faces), 3), GREY) if c is None else c for p, c in zip(pieces, colors)])
    return _checked(Surface(vertices, faces, color.astype(np.float32), known), path, where)


def _checked(surface: Surface, path: Path, where: str) -> Surface:
    faces, vertices = surface.faces, surface.vertices
    if not len(faces):
        raise RobotError(f"{where}: mesh {path} holds no triangle")
    if len(faces) > meshlimits.MAX_TRIANGLES:
        raise RobotError(
            f"{where}: mesh {path} has {len(faces)} triangles; at most {meshlimits.MAX_TRIANGLES} are read"
        )
    if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,) or faces.min() < 0 or faces.max() >= len(vertices):
        raise RobotError(f"{where}: mesh {path} has triangles between vertices that do not exist")
    if not np.isfinite(vertices).all() or np.abs(vertices).max() > 1e6:
        raise RobotError(f"{where}: mesh {path} has vertices that are not finite")
    return surface


def _binary_stl(data: bytes) -> Surface | None:
    """The triangles of a binary STL file: a count, and for each a normal, three corners and two spare bytes.

    None when the size does not match the count: text, or broken.
    """
    count = int.from_bytes(data[80:84], "little")
    if len(data) < 84 or len(data) != 84 + 50 * count:
        return None
    triangle = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
    vertices = np.frombuffer(data, triangle, count, 84)["corners"].reshape(-1, 3).astype(float)
    faces = np.arange(3 * count, dtype=np.int64).reshape(-1, 3)
    return Surface(vertices, faces, np.full((count, 3), GREY, np.float32), False)


def _unit(scene: Any) -> float:
    units = str(scene.units or "")
    if units.endswith(" * meters"):  # how trimesh passes a COLLADA file's unit on
        return float(units.split()[0])
    return 1.0


def _color(piece: Any) -> np.ndarray | None:
    """(F,3) rgb in 0..1 of a trimesh piece, None where the file gives no colour."""
    visual, count = piece.visual, len(piece.faces)
    if visual.kind == "texture":
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        plain = tuple(material.main_color) == tuple(trimesh.visual.color.DEFAULT_COLOR)
        if plain and (image is None or image.size == (2, 2)):
            return None  # what trimesh puts in for texture coordinates without a material
        if image is not None:
            rgb = np.asarray(image.convert("RGB").resize((1, 1), 4), float).reshape(3)  # 4 = box filter: the mean
        else:
            rgb = np.asarray(material.main_color, float)[:3]
        return np.tile(rgb / 255.0, (count, 1))
    if visual.kind in ("face", "vertex"):
        return np.asarray(visual.face_colors, float)[:, :3] / 255.0
    return None


class _Beside(Resolver):
    """Files that a mesh file names (materials, buffers): only from its folder or below, of bounded size."""

    def __init__(self, path: Path) -> None:
        self.folder = Path(os.path.normpath(path.parent))

    def get(self, name: str) -> bytes:
        path = Path(os.path.normpath(self.folder / name.strip()))
        # pipes and devices would never end
        if not path.is_relative_to(self.folder) or not path.is_file() or path.stat().st_size > MAX_MESH_BYTES:
            raise FileNotFoundError(name)
        return path.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        raise PermissionError(name)

    def keys(self) -> list[str]:
        return [p.name for p in self.folder.iterdir() if p.is_file()]

    def namespaced(self, namespace: str) -> _Beside:
        inner = Path(os.path.normpath(self.folder / namespace))
        return _Beside((inner if inner.is_relative_to(self.folder) else self.folder) / "file")


def primitive(visual: Visual) -> Surface:
    """Triangles of a box (sides), a cylinder or capsule (radius, length along z), a sphere (radius) or an ellipsoid
    (half its axes)."""
    size = visual.size
    if visual.shape == "box":
        mesh = trimesh.creation.box(extents=size)
    elif visual.shape == "cylinder":
        mesh = trimesh.creation.cylinder(radius=size[0], height=size[1], sections=RING)
    elif visual.shape == "capsule":
        mesh = trimesh.creation.capsule(radius=size[0], height=size[1], count=(RING, RING // 2))
    else:
        mesh = trimesh.creation.icosphere(subdivisions=3)
        mesh.apply_scale(size if visual.shape == "ellipsoid" else size[0])
    color = np.full((len(mesh.faces), 3), GREY, np.float32)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64), color, False)
