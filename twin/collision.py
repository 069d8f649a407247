"""Convex pieces that stand for a body when things touch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import trimesh

from twin.errors import TwinError
from twin.mesh import Mesh
from urdf.decimate import decimate


@dataclass(frozen=True)
class CollisionSettings:
    """faces: triangles that the body is simplified to first; convex: share of its hull that a body fills to be taken as
    convex; threshold: concavity that is left, as a fraction of the body's size; most: pieces; vertices: of a piece;
    seconds: of decomposition before one convex hull is taken."""

    faces: int = 800
    convex: float = 0.88
    threshold: float = 0.06
    most: int = 12
    vertices: int = 48
    seconds: float = 30.0


def convex_pieces(mesh: Mesh, settings: CollisionSettings | None = None) -> tuple[tuple[Mesh, ...], str]:
    """Convex pieces that cover a closed body, and a statement where it is a single hull for want of better ("" else).

    Source: CoACD, Wei et al., "Approximate Convex Decomposition for 3D Meshes with Collision-Aware Concavity and Tree
    Search", 2022; run in a process of its own, which is ended when its time is up.

    Raises:
        TwinError: the mesh has no volume.
    """
    s = settings or CollisionSettings()
    hull = convex_hull(mesh, s.vertices)
    solid, around = _volume(mesh), _volume(hull)
    if solid > s.convex * around:  # convex already
        return (hull,), ""
    if find_spec("coacd") is None:
        return (hull,), "one convex hull: the package coacd is not installed (pip install 'urdfit[twin]')"
    small = simplified(mesh, s.faces)
    with tempfile.TemporaryDirectory(prefix="urdfit-convex-") as folder:
        given, found = Path(folder) / "mesh.npz", Path(folder) / "pieces.npz"
        np.savez(given, vertices=small.vertices, faces=small.faces, threshold=s.threshold, most=s.most)
        command = [sys.executable, "-m", "twin.collision_child", str(given), str(found)]
        end, said = time.monotonic() + s.seconds, ""
        for mode in ("off", "auto"):  # auto makes any mesh a closed one first, which is slow and coarse
            try:
                left = max(end - time.monotonic(), 0.01)
                done = subprocess.run([*command, mode], capture_output=True, timeout=left, check=False)
            except subprocess.TimeoutExpired:
                return (hull,), f"one convex hull: its decomposition took more than {s.seconds:g} s"
            if done.returncode == 0 and found.is_file():
                break
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"status {done.returncode}"
        else:
            return (hull,), f"one convex hull: its decomposition failed ({said})"
        pieces = []
        with np.load(found, allow_pickle=False) as data:
            for number in range(int(data["count"])):
                try:
                    pieces.append(convex_hull(Mesh(data[f"v{number}"], data[f"f{number}"]), s.vertices))
                except TwinError:
                    continue  # a sliver without volume
    return (tuple(pieces), "") if pieces else ((hull,), "one convex hull: its decomposition was empty")


def convex_hull(mesh: Mesh, vertices: int = 48) -> Mesh:
    """The convex hull with at most about `vertices` corners, normals outwards.

    Raises:
        TwinError: it has no volume.
    """
    try:
        hull = trimesh.Trimesh(mesh.vertices[np.unique(mesh.faces)], process=False).convex_hull
        if len(hull.vertices) > vertices:
            points, faces, kept = decimate(hull.vertices, hull.faces, 2 * vertices - 4)
            hull = trimesh.Trimesh(points[np.unique(faces[kept])], process=False).convex_hull
    except Exception as error:  # qhull's own class, or trimesh's
        raise TwinError(f"no convex hull: {str(error).splitlines()[0] if str(error) else error!r}") from None
    found = Mesh(np.asarray(hull.vertices, float), np.asarray(hull.faces, np.int32))
    if _volume(found) < 1e-10:
        raise TwinError("no convex hull: the body is flat")
    return found


def simplified(mesh: Mesh, faces: int) -> Mesh:
    """At most `faces` triangles, without colours."""
    if len(mesh.faces) <= faces:
        return Mesh(mesh.vertices, mesh.faces)
    points, triangles, kept = decimate(mesh.vertices, mesh.faces, faces)
    used, index = np.unique(triangles[kept], return_inverse=True)
    return Mesh(points[used], index.reshape(-1, 3).astype(np.int32))


def _volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return abs(float(np.einsum("fi,fi->", a, np.cross(b, c)))) / 6
