"""Distances between surfaces: Chamfer distance, completeness, F-score.

Source: precision, recall and F-score at a distance as in Knapitsch et al., "Tanks and Temples", TOG 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from trimesh.triangles import closest_point

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.seen import SeenSpace
from twin.visible import sample_faces

SURFACE_MARGIN = 0.004  # metres behind a depth picture at which a true point still counts as its surface
NEIGHBOURS = 6  # samples whose triangles are looked at
EXACT = 1e-4  # metres; distances below are not made any better
BEHIND_MARGIN = 0.05  # metres behind what was seen in which the twin still has to be right


@dataclass(frozen=True)
class SurfaceErrors:
    """Distances in metres, rates as fractions, one a threshold.

    Attributes:
        chamfer: mean of `accuracy` and `completeness`.
        accuracy: mean distance from the twin's surface to the true one; completeness: from the visible true
            surface to the twin's.
        precision, recall, f_score: at each of `thresholds`; recall is also called the completeness rate.
        points: of the twin and of the truth that were compared.
    """

    chamfer: float
    accuracy: float
    completeness: float
    thresholds: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f_score: tuple[float, ...]
    points: tuple[int, int]


class DistanceField:
    """Distance of points to a mesh: to the triangles that the nearest sampled points belong to."""

    def __init__(self, mesh: Mesh, spacing: float, rng: np.random.Generator) -> None:
        self.points, face = sample_faces(mesh, spacing, rng)
        self._corners = mesh.vertices[mesh.faces]
        # triangles smaller than the spacing may have got no point: their middles stand for them
        bare = np.setdiff1d(np.arange(len(mesh.faces)), face)
        self._face = np.r_[face, bare]
        self._tree = cKDTree(np.concatenate([self.points, self._corners[bare].mean(axis=1)]))

    @property
    def normals(self) -> np.ndarray:
        """(F,3) unit normals of the triangles."""
        cross = np.cross(self._corners[:, 1] - self._corners[:, 0], self._corners[:, 2] - self._corners[:, 0])
        return cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-20)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (N,), the nearest points (N,3) of the surface, and their triangles (N,)."""
        if not len(points) or not len(self._face):
            return np.full(len(points), np.inf), points, np.zeros(len(points), int)
        near = self._face[self._tree.query(points, min(NEIGHBOURS, len(self._face)))[1]].reshape(len(points), -1)
        face = near[:, 0].copy()
        on = closest_point(self._corners[face], points)
        distance = np.linalg.norm(points - on, axis=1)
        for other in near.T[1:]:  # beside an edge the nearest sample may lie on the wrong side of it
            rest = np.flatnonzero((other != face) & (distance > EXACT))
            candidate = closest_point(self._corners[other[rest]], points[rest])
            length = np.linalg.norm(points[rest] - candidate, axis=1)
            better = length < distance[rest]
            rows = rest[better]
            distance[rows], on[rows], face[rows] = length[better], candidate[better], other[rows]
        return distance, on, face


def compare_surfaces(
    meshes: Sequence[Mesh], truth: Sequence[Mesh], seen: SeenSpace, box: np.ndarray,
    thresholds: Sequence[float], spacing: float, rng: np.random.Generator,
) -> SurfaceErrors:  # fmt: skip
    """Compare all of a twin's surface with all of the true one inside a box; see `measure_twin`.

    Raises:
        TwinError: one of them has nothing in the box, or the true one nothing that is seen.
    """
    slack = np.array([[-0.05], [0.05]])
    found = DistanceField(_cropped(meshes, box + slack, "the twin"), spacing, rng)
    true = DistanceField(_cropped(truth, box + slack, "the true scene"), spacing, rng)
    asked = true.points[_inside(true.points, box)]
    asked = asked[seen.holds(asked, SURFACE_MARGIN)]
    given = found.points[_inside(found.points, box)]
    given = given[seen.holds(given, BEHIND_MARGIN)]
    if not len(asked):
        raise TwinError("no camera sees any true surface inside the region")
    to_truth, to_twin = true.nearest(given)[0], found.nearest(asked)[0]
    accuracy = float(to_truth.mean()) if len(given) else float("inf")
    precision = tuple(float((to_truth < t).mean()) if len(given) else 0.0 for t in thresholds)
    recall = tuple(float((to_twin < t).mean()) for t in thresholds)
    f_score = tuple(2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall))
    completeness = float(to_twin.mean())
    return SurfaceErrors(
        (accuracy + completeness) / 2, accuracy, completeness, tuple(thresholds), precision, recall, f_score,
        (len(given), len(asked)),
    )  # fmt: skip


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    return ((points >= box[0]) & (points <= box[1])).all(1)


def _cropped(meshes: Sequence[Mesh], box: np.ndarray, whose: str) -> Mesh:
    """The triangles of all meshes that reach into the box, as one mesh without colours."""
    vertices, faces, start = [], [], 0
    for mesh in meshes:
        corners = mesh.vertices[mesh.faces]
        keep = ((corners.max(1) >= box[0]) & (corners.min(1) <= box[1])).all(1)
        vertices.append(mesh.vertices)
        faces.append(mesh.faces[keep] + start)
        start += len(mesh.vertices)
    if not sum(map(len, faces)):
        raise TwinError(f"{whose} has no surface inside the region")
    return Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32))
