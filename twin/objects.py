"""From a fused scene to bodies: support planes, the things on them, and what each weighs and collides with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from twin.clusters import ClusterSettings, cut_faces, find_clusters
from twin.collision import CollisionSettings, convex_hull, convex_pieces
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.physics import mass_of
from twin.planes import Plane, counter_clockwise, find_planes
from twin.scene import Body
from twin.solid import close_solid
from twin.standing import with_sole
from twin.surface import areas, without_specks

DENSITY = 300.0  # kg/m3: household things are mostly hollow
TABLE_DENSITY = 600.0
TABLE_THICKNESS = 0.04
SPECK = 0.05  # of a thing's surface: smaller loose pieces are not its own
FOOT_MARGIN, FOOT_HEIGHT = 0.014, 0.02  # metres around and above a body's foot where the plane is drawn anew


@dataclass(frozen=True)
class ObjectSettings:
    """clusters: what is a thing; collision: its convex pieces; voxel: metres, of closed bodies; density: kg/m3;
    plane_area: m2, least of a support plane; planes: at most so many."""

    clusters: ClusterSettings = field(default_factory=ClusterSettings)
    collision: CollisionSettings = field(default_factory=CollisionSettings)
    voxel: float = 0.003
    density: float = DENSITY
    plane_area: float = 0.05
    planes: int = 3


@dataclass(frozen=True, eq=False)
class Split:
    """background: what belongs to no object, holes under them closed; planes: the largest first; bodies: the planes
    (static), then objects; warnings: one line each."""

    background: Mesh
    planes: tuple[Plane, ...]
    bodies: tuple[Body, ...]
    warnings: tuple[str, ...]


def split_scene(
    mesh: Mesh, settings: ObjectSettings | None = None, *,
    masked: dict[str, np.ndarray] | None = None, keep_out: np.ndarray | None = None,
) -> Split:  # fmt: skip
    """Take the things that stand on level surfaces out of a fused scene.

    Args:
        mesh: fused without the robot, base frame, Z up, open.
        masked: (F,) bool triangles of objects that the user has named, see `twin.object_masks`; the rest is found by
            clustering what stands on the planes.
        keep_out: (N,3) points of the robot where it stood; remains of it are no objects.
    """
    s = settings or ObjectSettings()
    warnings: list[str] = []
    near = np.hypot(*mesh.vertices[:, :2].T) < s.clusters.reach + s.clusters.high
    rows = np.flatnonzero(near[mesh.faces].all(1))
    part = Mesh(mesh.vertices, mesh.faces[rows], mesh.colors)
    planes = tuple(find_planes(part, s.plane_area, s.planes))
    if not planes:
        warnings.append("no level surface was found: objects are told apart only where they have masks")
    things = [
        (name, keep[rows].nonzero()[0], _under(part, keep[rows], planes)) for name, keep in (masked or {}).items()
    ]
    free = np.ones(len(rows), bool)
    for _, own, _ in things:
        free[own] = False
    number = 0
    for support in planes:
        for own in find_clusters(part, support, free, s.clusters, keep_out):
            free[own] = False
            while f"object_{number}" in (masked or {}):
                number += 1
            things.append((f"object_{number}", own, support))
            number += 1

    bodies, patches, taken = [], [], np.zeros(len(mesh.faces), bool)
    middle = mesh.vertices[mesh.faces].mean(1)
    for name, own, plane in things:
        keep = np.zeros(len(rows), bool)
        keep[own] = True
        try:
            seen = cut_faces(part, keep)
            seen = without_specks(seen, SPECK * float(areas(seen).sum()))  # stray depth beside edges
            solid = close_solid(seen, plane, s.voxel)
            body = make_body(name, solid, plane, s)
        except TwinError as error:
            warnings.append(f"{name}: left in the background ({error})")
            continue
        bodies.append(body)
        taken[rows[own]] = True
        if plane is not None:
            foot = replace(plane, outline=_footprint(solid, plane))
            low = np.abs(plane.height(middle)) < FOOT_HEIGHT
            taken[np.flatnonzero(low)[foot.below(middle[low, :2])]] = True
            patches.append(_patch(foot, part))
    background = _joined(cut_faces(mesh, ~taken), patches)
    tables = [plane_body(_plane_name(i), plane, background) for i, plane in enumerate(planes)]
    return Split(background, planes, (*tables, *bodies), tuple(warnings))


def make_body(name: str, mesh: Mesh, plane: Plane | None = None, settings: ObjectSettings | None = None) -> Body:
    """A body of a closed mesh in the base frame, in its resting pose: its origin under its middle, on the
    plane, z along the plane's normal, x along its longer side. It collides as its convex hull, see `with_pieces`.

    Raises:
        TwinError: the mesh encloses no volume, or the density is not positive.
    """
    s = settings or ObjectSettings()
    T_base_body = resting_frame(mesh, plane)
    local = mesh.transformed(np.linalg.inv(T_base_body))
    mass = mass_of(local, s.density)
    hull = convex_hull(local, s.collision.vertices)
    return Body(name, local, (hull,), T_base_body, mass.mass, mass.inertia, mass.center, s.density)


def with_pieces(
    bodies: Sequence[Body], settings: CollisionSettings | None = None
) -> tuple[tuple[Body, ...], tuple[str, ...]]:
    """Bodies that are not static with convex pieces, all within one time; and a line for each that stays one hull."""
    moving = [n for n, body in enumerate(bodies) if not body.static]
    found = dict(zip(moving, convex_pieces([bodies[n].visual for n in moving], settings), strict=True))
    done = [
        replace(body, collision=with_sole(found[n][0], body.visual, body.center)) if n in found else body
        for n, body in enumerate(bodies)
    ]
    return tuple(done), tuple(f"{bodies[n].name}: {said}" for n, (_, said) in found.items() if said)


def resting_frame(mesh: Mesh, plane: Plane | None) -> np.ndarray:
    """(4,4) T_base_body; without a plane z is up and the origin is level with the lowest vertex."""
    up = np.array([0.0, 0.0, 1.0]) if plane is None else plane.normal
    points = mesh.vertices[np.unique(mesh.faces)]
    (x, y), (width, depth), angle = cv2.minAreaRect(points[:, :2].astype(np.float32))
    turn = np.radians(angle if width >= depth else angle + 90)
    if abs(width - depth) < 0.05 * max(width, depth):  # round or square: no side is the longer one
        turn = 0.0
    ahead = np.array([np.cos(turn), np.sin(turn), 0.0])
    side = np.cross(up, ahead)
    side /= np.linalg.norm(side)
    T = np.eye(4)
    T[:3, :3] = np.stack([np.cross(side, up), side, up], 1)
    T[:2, 3] = x, y
    T[2, 3] = points[:, 2].min() if plane is None else float(plane.z(np.array([[x, y]]))[0])
    return T


def plane_body(name: str, plane: Plane, background: Mesh | None = None) -> Body:
    """A support plane as a static slab under its outline; its visual lies 3 mm lower: the seen surface shows."""
    top = np.column_stack([plane.outline, plane.z(plane.outline)])
    middle = top.mean(0)
    down = plane.normal * TABLE_THICKNESS
    slab = convex_hull(_points_mesh(np.concatenate([top, top - down]) - middle), vertices=64)
    color = np.full(3, 150, np.uint8)
    if background is not None and background.colors is not None:
        on = np.abs(plane.height(background.vertices)) < 0.005
        on[on] = plane.below(background.vertices[on, :2])
        color = np.median(background.colors[on], axis=0).astype(np.uint8) if on.any() else color
    mass = mass_of(slab, TABLE_DENSITY)
    T = np.eye(4)
    T[:3, 3] = middle
    visual = Mesh(slab.vertices - 0.003 * plane.normal, slab.faces, np.tile(color, (len(slab.vertices), 1)))
    return Body(name, visual, (slab,), T, mass.mass, mass.inertia, mass.center, TABLE_DENSITY, "wood", True)


def _plane_name(number: int) -> str:
    return "table" if number == 0 else f"table_{number}"


def _points_mesh(points: np.ndarray) -> Mesh:
    return Mesh(points, np.arange(len(points) // 3 * 3, dtype=np.int32).reshape(-1, 3))


def _under(mesh: Mesh, keep: np.ndarray, planes: tuple[Plane, ...]) -> Plane | None:
    """The plane that an object stands on: the highest under its middle."""
    if not keep.any():
        return None
    points = mesh.vertices[np.unique(mesh.faces[keep])]
    low = points[points[:, 2] <= np.percentile(points[:, 2], 10)]
    under = [p for p in planes if p.below(points[:, :2].mean(0)[None], 0.02)[0] and p.height(low).mean() > -0.02]
    return max(under, key=lambda p: float(p.z(points[:, :2].mean(0)[None])[0]), default=None)


def _footprint(solid: Mesh, plane: Plane) -> np.ndarray:
    """(N,2) convex polygon around what of a body is near the plane, a little larger, counter-clockwise."""
    points = solid.vertices[np.unique(solid.faces)]
    low = points[plane.height(points) < max(0.02, float(plane.height(points).min()) + 0.005), :2]
    outline = cv2.convexHull(low.astype(np.float32)).reshape(-1, 2).astype(float)
    middle = outline.mean(0)
    length = np.maximum(np.linalg.norm(outline - middle, axis=1, keepdims=True), 1e-3)
    outline = middle + (outline - middle) * (1 + FOOT_MARGIN / length)
    return counter_clockwise(outline)


def _patch(foot: Plane, around: Mesh) -> Mesh:
    """The plane inside an outline, coloured as it is around."""
    middle = foot.outline.mean(0)
    xy = np.concatenate([middle[None], foot.outline])
    vertices = np.column_stack([xy, foot.z(xy)])
    i = np.arange(len(foot.outline))
    faces = np.stack([np.zeros_like(i), 1 + i, 1 + (i + 1) % len(i)], 1).astype(np.int32)
    if around.colors is None:
        return Mesh(vertices, faces)
    beside = np.flatnonzero(np.abs(foot.height(around.vertices)) < 0.006)
    beside = beside[foot.below(around.vertices[beside, :2], 0.04) & ~foot.below(around.vertices[beside, :2])]
    color = np.median(around.colors[beside], axis=0).astype(np.uint8) if len(beside) else np.full(3, 150, np.uint8)
    return Mesh(vertices, faces, np.tile(color, (len(vertices), 1)))


def _joined(mesh: Mesh, others: list[Mesh]) -> Mesh:
    meshes = [mesh, *others]
    start = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + n for m, n in zip(meshes, start)]).astype(np.int32),
        None if mesh.colors is None else np.concatenate([m.colors for m in meshes if m.colors is not None]),
    )
