"""Convex pieces that stand for a body when things touch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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
    seconds: of the decomposition of all bodies of a scene together."""

    faces: int = 800
    convex: float = 0.88
    threshold: float = 0.06
    most: int = 12
    vertices: int = 48
    seconds: float = 30.0


def convex_pieces(
    meshes: Sequence[Mesh], settings: CollisionSettings | None = None
) -> list[tuple[tuple[Mesh, ...], str]]:
    """Convex pieces that cover each closed body, and why it is a single hull for want of better ("" else).

    The time is shared: bodies come in the order of how much empty space their hulls hold, each gets at most half of
    what is left while others wait, and those that it does not reach stay hulls.

    Raises:
        TwinError: a mesh has no volume.
    """
    s = settings or CollisionSettings()
    hulls = [convex_hull(mesh, s.vertices) for mesh in meshes]
    found: list[tuple[tuple[Mesh, ...], str]] = [((hull,), "") for hull in hulls]
    filled = [(_volume(mesh), _volume(hull)) for mesh, hull in zip(meshes, hulls, strict=True)]
    hollow = [n for n, (solid, around) in enumerate(filled) if solid <= s.convex * around]
    if hollow and find_spec("coacd") is None:
        said = "one convex hull: the package coacd is not installed (pip install 'urdfit[twin]')"
        for n in hollow:
            found[n] = found[n][0], said
        return found
    end = time.monotonic() + s.seconds
    hollow.sort(key=lambda n: filled[n][0] - filled[n][1])
    for waiting, n in zip(range(len(hollow) - 1, -1, -1), hollow):
        left = max(end - time.monotonic(), 0.0)
        said = _out_of_time(s)
        if left > 0:
            pieces, said = _decomposed(meshes[n], s, left / 2 if waiting else left)
        found[n] = (pieces, "") if left > 0 and pieces else (found[n][0], said)
    return found


def _out_of_time(s: CollisionSettings) -> str:
    return f"one convex hull: decomposing all bodies took more than {s.seconds:g} s"


def _decomposed(mesh: Mesh, s: CollisionSettings, seconds: float) -> tuple[tuple[Mesh, ...], str]:
    """Pieces of one body, none with the reason why.

    Source: CoACD, Wei et al., "Approximate Convex Decomposition for 3D Meshes with Collision-Aware Concavity and Tree
    Search", 2022; run in a process of its own, which is ended when its time is up.
    """
    small = simplified(mesh, s.faces)
    end, said = time.monotonic() + seconds, ""
    with tempfile.TemporaryDirectory(prefix="urdfit-convex-") as folder:
        given, file = Path(folder) / "mesh.npz", Path(folder) / "pieces.npz"
        np.savez(given, vertices=small.vertices, faces=small.faces, threshold=s.threshold, most=s.most)
        # as a file: as a module of this package it would load torch and all else first, which takes most of the time
        command = [sys.executable, "-P", str(Path(__file__).with_name("collision_child.py")), str(given), str(file)]
        for mode in ("off", "on"):  # on makes any mesh a closed one first, which is coarse
            try:
                left = max(end - time.monotonic(), 0.01)
                done = subprocess.run([*command, mode], capture_output=True, timeout=left, check=False)
            except subprocess.TimeoutExpired:
                return (), _out_of_time(s)
            if done.returncode == 0 and file.is_file():
                return _read_pieces(file, s)
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"status {done.returncode}"
    return (), f"one convex hull: its decomposition failed ({said})"


def _read_pieces(file: Path, s: CollisionSettings) -> tuple[tuple[Mesh, ...], str]:
    pieces = []
    with np.load(file, allow_pickle=False) as data:
        for number in range(int(data["count"])):
            try:
                pieces.append(convex_hull(Mesh(data[f"v{number}"], data[f"f{number}"]), s.vertices))
            except TwinError:
                continue  # a sliver without volume
    return tuple(pieces), "one convex hull: its decomposition was empty"


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
