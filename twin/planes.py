"""Support planes: the level surfaces that things stand on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from twin.mesh import Mesh
from twin.surface import areas
from twin.visible import sample_points

TRIES = 400
POINTS = 20_000  # that stand for all surface
BAND = 0.008  # metres to both sides of a plane in which surface is its own
LEVEL = np.cos(np.radians(12.0))  # a triangle with a steeper normal does not support anything
CELL = 0.01  # metres, to which outlines are simplified


@dataclass(frozen=True, eq=False)
class Plane:
    """A level surface with an outline.

    Attributes:
        normal: (3,) unit, upwards; offset: normal . p = offset for its points.
        outline: (N,2) convex polygon in x and y of the base frame, counter-clockwise, metres.
        area: m2 of surface found in it.
    """

    normal: np.ndarray
    offset: float
    outline: np.ndarray
    area: float

    def height(self, points: np.ndarray) -> np.ndarray:
        """(N,) metres above the plane, along its normal."""
        return points @ self.normal - self.offset

    def z(self, xy: np.ndarray) -> np.ndarray:
        """(N,) the plane's z at x and y (N,2)."""
        return (self.offset - xy @ self.normal[:2]) / self.normal[2]

    def below(self, xy: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """(N,) bool: x and y (N,2) within the outline grown by `margin` metres."""
        a = self.outline
        edge = np.roll(a, -1, axis=0) - a
        outward = np.stack([edge[:, 1], -edge[:, 0]], 1)
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
        return ((xy @ outward.T - (outward * a).sum(1)) <= margin).all(1)


def find_planes(mesh: Mesh, min_area: float = 0.05, most: int = 3, seed: int = 0) -> list[Plane]:
    """Level planes of a mesh, the largest first: RANSAC over points of triangles that look up.

    Source: Fischler and Bolles, 1981. Half of the hypotheses go through three points, half are level through one. Each
    winner is refined by least squares, keeps its largest connected piece of surface, and takes that out of the search.

    Args:
        mesh: Z up. min_area: m2 of a plane's surface.
    """
    upright = _upright(mesh)
    area = float(areas(mesh)[upright].sum())
    if area < min_area:
        return []
    looking_up = Mesh(mesh.vertices, mesh.faces[upright])
    rng = np.random.default_rng(seed)
    points = sample_points(looking_up, max(np.sqrt(area / POINTS), 1e-3), rng)
    share = area / max(len(points), 1)  # m2 that a point stands for
    planes: list[Plane] = []
    for _ in range(3 * most):  # a hypothesis whose surface lies in small pieces gives no plane
        if len(planes) == most or len(points) * share < min_area:
            break
        n, offset = _refine(points, *_hypothesis(points, rng))
        own = np.flatnonzero(np.abs(points @ n - offset) < BAND)
        if not len(own):
            break
        own = own[_largest_piece(points[own, :2], 2.5 * np.sqrt(share))]
        if len(own) * share >= min_area:
            hull = cv2.convexHull(points[own, :2].astype(np.float32))
            outline = cv2.approxPolyDP(hull, CELL / 2, True).reshape(-1, 2).astype(float)
            planes.append(Plane(n, offset, counter_clockwise(outline), len(own) * share))
        points = np.delete(points, own, axis=0)
    return sorted(planes, key=lambda plane: -plane.area)


def _upright(mesh: Mesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return cross[:, 2] > LEVEL * np.maximum(np.linalg.norm(cross, axis=1), 1e-20)


def _hypothesis(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Normal and offset of the plane that most points are near."""
    best, winner = -1, (np.array([0.0, 0.0, 1.0]), float(points[0, 2]))
    for try_ in range(TRIES):
        a, b, c = points[rng.integers(len(points), size=3)]
        n = np.cross(b - a, c - a) if try_ % 2 else np.array([0.0, 0.0, 1.0])
        length = np.linalg.norm(n) * (1 if n[2] > 0 else -1)
        if abs(length) < 1e-6 or n[2] / length < LEVEL:
            continue
        n = n / length
        votes = int((np.abs(points @ n - a @ n) < BAND).sum())
        if votes > best:
            best, winner = votes, (n, float(a @ n))
    return winner


def counter_clockwise(outline: np.ndarray) -> np.ndarray:
    """A polygon (N,2) in that order."""
    x, y = outline.T
    return outline if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0 else outline[::-1]


def _refine(points: np.ndarray, n: np.ndarray, offset: float) -> tuple[np.ndarray, float]:
    """Least squares z = a x + b y + c over what lies near, the band getting narrower."""
    for band in (2 * BAND, BAND, BAND / 2):
        near = points[np.abs(points @ n - offset) < band]
        if len(near) < 10:
            break
        A = np.column_stack([near[:, :2], np.ones(len(near))])
        a, b, c = np.linalg.lstsq(A, near[:, 2], rcond=None)[0]
        length = np.sqrt(a * a + b * b + 1)
        if 1 / length < LEVEL:
            break
        n, offset = np.array([-a, -b, 1]) / length, float(c / length)
    return n, offset


def _largest_piece(xy: np.ndarray, cell: float) -> np.ndarray:
    """(N,) bool: points of the largest piece of a map with cells of `cell` metres, gaps of two cells bridged."""
    place = np.floor((xy - xy.min(0)) / cell).astype(int) + 1
    size = place.max(0) + 2
    if size.prod() > 50_000_000:
        return np.ones(len(xy), bool)
    grid = np.zeros(size, np.uint8)
    grid[place[:, 0], place[:, 1]] = 1
    label = cv2.connectedComponents(cv2.dilate(grid, np.ones((3, 3), np.uint8)))[1]
    own = label[place[:, 0], place[:, 1]]
    return own == np.bincount(own).argmax()
