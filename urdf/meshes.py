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
from urdf.visibility import exposure

if TYPE_CHECKING:
    from urdf.meshfiles import Surface

VERSION = 6  # part of the cache key: raise it when the meshes made here change
MAX_TOTAL = 10_000_000  # triangles of a robot before decimation
WELD = 1e-5  # metres; vertices closer than this are one
HEAVY = 150_000  # triangles; larger meshes are first merged on a grid
COARSE, FINE, FEW = 0.001, 0.0003, 10_000  # metres of its cells for budgets up to FEW and above; 1 mm is 0.4 pixels
HASH = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
SHOWN, HIDDEN = 0.5, 0.02  # weight of what is seen, and of what is not, beside the outline's
GRIPPER_DETAIL = 1.7  # grippers are small and looked at closely: decimated as if larger by this factor


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
        mesh = reduce(self.full(), faces, self.gripper)
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

    def full(self) -> RobotMesh:
        from urdf.meshfiles import load_mesh, primitive  # trimesh takes a second to import: only when needed

        surfaces, links, total = [], [], 0
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
            total += len(surface.faces)
            if total > MAX_TOTAL:
                raise RobotError(f"{self.source}: more than {MAX_TOTAL} triangles in all; use simpler meshes")
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
    return merge(RobotMesh(vertices, faces, link, link[faces[:, 0]], color), WELD)


def merge(mesh: RobotMesh, size: float) -> RobotMesh:
    """Vertices of a link in one cell of a grid become one; triangles that lose their area or their only use go.

    Args:
        mesh: any mesh.
        size: metres, of a cell.
    """
    inverse = _cells(mesh.vertices, mesh.vertex_link, size)
    count = np.bincount(inverse)
    middle = np.stack([np.bincount(inverse, mesh.vertices[:, k]) / count for k in range(3)], axis=1)
    link = np.zeros(len(count), np.int32)
    link[inverse] = mesh.vertex_link
    faces = inverse[mesh.faces]
    rows = np.sort(faces, axis=1)
    solid = np.flatnonzero((rows[:, 0] != rows[:, 1]) & (rows[:, 1] != rows[:, 2]))
    # sheets drawn twice, from both sides or by mistake, are drawn once; found by a hash of their corners
    first = np.unique((rows[solid].astype(np.uint64) * HASH).sum(axis=1, dtype=np.uint64), return_index=True)[1]
    kept = solid[np.sort(first)]
    faces = faces[kept]
    used = np.zeros(len(middle), bool)
    used[faces] = True
    return RobotMesh(
        middle[used].astype(np.float32), (np.cumsum(used) - 1)[faces].astype(np.int32), link[used],
        mesh.face_link[kept].astype(np.int32), mesh.face_color[kept].astype(np.float32),
    )  # fmt: skip


def _cells(vertices: np.ndarray, link: np.ndarray, size: float) -> np.ndarray:
    """(V,) int64: vertices of one link in one cell share a number, without gaps."""
    cells = np.round((vertices - vertices.min(axis=0)) / size).astype(np.int64)
    counts = [int(n) + 1 for n in (*cells.max(axis=0), link.max())]
    if np.prod(np.array(counts, float)) < 2.0**62:  # one number a cell sorts much faster than four
        cells = np.ravel_multi_index((link, *cells.T), (counts[3], *counts[:3]))
        return np.unique(cells, return_inverse=True)[1].reshape(-1)
    return np.unique(np.column_stack([cells, link]), axis=0, return_inverse=True)[1].reshape(-1)


def reduce(mesh: RobotMesh, faces: int, gripper: np.ndarray) -> RobotMesh:
    """About `faces` triangles, spent where they keep the outlines best; each keeps its link and colour.

    Args:
        mesh: the full mesh.
        faces: the budget; smaller meshes are kept as they are.
        gripper: (L,) bool, links that keep more detail.
    """
    if len(mesh.faces) <= faces:
        return mesh
    if len(mesh.faces) > HEAVY:  # screws by the thousand: cheaper to melt than to decimate
        mesh = merge(mesh, COARSE if faces <= FEW else FINE)
    detail = np.where(gripper, GRIPPER_DETAIL, 1.0)
    scale = detail[mesh.vertex_link, None]
    weight = importance(mesh) * detail[mesh.face_link] ** 2
    points, triangles, kept = decimate(mesh.vertices * scale, mesh.faces, faces, weight)
    used, triangles = np.unique(triangles[kept], return_inverse=True)
    return RobotMesh(
        (points / scale)[used].astype(np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        mesh.vertex_link[used],
        mesh.face_link[kept],
        mesh.face_color[kept],
    )


def importance(mesh: RobotMesh) -> np.ndarray:
    """(F,) square metres: how much each triangle shows, and makes the outline, when its link is seen from around.

    Against weights by area this takes the mean distance between the outlines of full and reduced robots down by a
    tenth to three quarters: the more a robot hides inside (benchmarks/meshes.py).
    """
    seen, outline, area = (np.zeros(len(mesh.faces)) for _ in range(3))
    for link in np.unique(mesh.face_link):
        mine = mesh.face_link == link
        used, faces = np.unique(mesh.faces[mine], return_inverse=True)
        points, faces = mesh.vertices[used].astype(float), faces.reshape(-1, 3)
        seen[mine], outline[mine] = exposure(points, faces)
        a, b, c = np.moveaxis(points[faces], 1, 0)
        area[mine] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    # a convex body shows a quarter of its area
    outline *= 4 * seen.sum() / max(outline.sum(), 1e-30)
    return outline + SHOWN * area * (np.minimum(2 * seen / np.maximum(area, 1e-12), 1.0) + HIDDEN)


def open_edges(mesh: RobotMesh, links: int) -> np.ndarray:
    """(L,) edges of each link that belong to one triangle only: 0 where its surface is closed."""
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, first, count = np.unique(edges, axis=0, return_index=True, return_counts=True)
    owner = mesh.face_link[first[count == 1] // 3]
    return np.bincount(owner, minlength=links)
