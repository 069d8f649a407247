"""A robot's surfaces: visuals loaded, welded, coloured, and decimated to a budget of triangles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from urdf import cache
from urdf.decimate import decimate
from urdf.description import Visual, show
from urdf.errors import RobotError
from urdf.robot import RobotMesh

if TYPE_CHECKING:
    from urdf.meshfiles import Surface

VERSION = 3  # part of the cache key: raise it when the meshes made here change
WELD = 1e-5  # metres; vertices closer than this are one
GRIPPER_DETAIL = 1.4  # the gripper is small: it is decimated as if it were larger by this factor


class MeshBuilder:
    """Makes the meshes of one robot at any budget, through the disk cache; picklable.

    Args:
        visuals: all visuals.
        link_names, gripper: (L) names, (L,) bool: links that keep more detail.
        source: for messages.
    """

    def __init__(
        self,
        visuals: Sequence[Visual],
        link_names: Sequence[str],
        gripper: np.ndarray,
        source: str,
    ) -> None:
        self.visuals = tuple(visuals)
        self.link_names, self.gripper, self.source = tuple(link_names), gripper, source
        self._digest = ""

    def __call__(self, faces: int) -> RobotMesh:
        """The mesh of about `faces` triangles.

        Raises:
            RobotError: a file that is no mesh or has no triangle, no geometry at all, or a budget below 100.
        """
        if faces < 100:
            raise RobotError(f"{self.source}: a budget of {faces} triangles is too small; give at least 100")
        key = f"mesh-{self.digest()[:32]}-{faces}"
        stored = cache.load(key)
        names = ("vertices", "faces", "vertex_link", "face_link", "face_color")
        if stored is not None and set(stored) == set(names):
            return RobotMesh(**stored)
        mesh = reduce(self._full(), faces, self.gripper)
        cache.store(key, {name: getattr(mesh, name) for name in names})
        return mesh

    def digest(self) -> str:
        """Hash of everything the meshes depend on: files, placement, colours, labels."""
        if not self._digest:
            sha = hashlib.sha256(repr((VERSION, self.link_names, self.gripper.tolist())).encode())
            seen: dict[Path, bytes] = {}
            for v in self.visuals:
                path = v.path
                sha.update(repr((v.link, v.shape, v.size, v.T_link_visual.tolist(), v.color)).encode())
                if path is not None:
                    if path not in seen:
                        seen[path] = hashlib.sha256(path.read_bytes()).digest()
                    sha.update(seen[path] + path.suffix.encode())
            self._digest = sha.hexdigest()
        return self._digest

    def _full(self) -> RobotMesh:
        from urdf.meshfiles import load_mesh, primitive  # trimesh takes a second to import: only when needed

        surfaces, links = [], []
        loaded: dict[Path, Surface] = {}
        for v in self.visuals:
            path = v.path
            where = f"{self.source}: link {show(v.link)}"
            if path is None:
                surface, scale = primitive(v), np.ones(3)
            else:
                if path not in loaded:
                    loaded[path] = load_mesh(path, where)
                surface, scale = loaded[path], np.array(v.size)
            surfaces.append(_placed(surface, v, scale))
            links.append(self.link_names.index(v.link))
        if not surfaces:
            raise RobotError(f"{self.source}: no link has visual geometry, so there is nothing to draw or fit")
        return _weld(surfaces, links)


def _placed(surface: Surface, visual: Visual, scale: np.ndarray) -> Surface:
    vertices = surface.vertices * scale @ visual.T_link_visual[:3, :3].T + visual.T_link_visual[:3, 3]
    faces = surface.faces[:, ::-1] if np.prod(scale) < 0 else surface.faces  # a mirror turns faces inside out
    color = surface.color
    if visual.color is not None and not surface.own_color:
        color = np.tile(np.array(visual.color, np.float32), (len(faces), 1))
    return replace(surface, vertices=vertices, faces=faces, color=color)


def _weld(surfaces: list[Surface], links: list[int]) -> RobotMesh:
    """All surfaces in one mesh; vertices at one place of a link become one: decimation opens no cracks."""
    vertices = np.concatenate([s.vertices for s in surfaces])
    link = np.repeat(np.array(links, np.int32), [len(s.vertices) for s in surfaces])
    starts = np.cumsum([0] + [len(s.vertices) for s in surfaces[:-1]])
    faces = np.concatenate([s.faces + start for s, start in zip(surfaces, starts)])
    color = np.concatenate([s.color for s in surfaces])
    cells = np.column_stack([np.round(vertices / WELD).astype(np.int64), link])
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    solid = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces, color, vertices, link = faces[solid], color[solid], vertices[first], link[first]
    return RobotMesh(
        vertices.astype(np.float32), faces.astype(np.int32), link, link[faces[:, 0]], color.astype(np.float32)
    )


def reduce(mesh: RobotMesh, faces: int, gripper: np.ndarray) -> RobotMesh:
    """About `faces` triangles, spent on all links where they keep the shape best; each keeps its colour.

    Args:
        mesh: the full mesh.
        faces: the budget; smaller meshes are kept as they are.
        gripper: (L,) bool, links that keep more detail.
    """
    if len(mesh.faces) <= faces:
        return mesh
    scale = np.where(gripper, GRIPPER_DETAIL, 1.0)[mesh.vertex_link, None]
    points, triangles, kept = decimate(mesh.vertices * scale, mesh.faces, faces)
    used, triangles = np.unique(triangles[kept], return_inverse=True)
    return RobotMesh(
        (points / scale)[used].astype(np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        mesh.vertex_link[used],
        mesh.face_link[kept],
        mesh.face_color[kept],
    )
