"""From clean pictures to a scene: one surface, its objects, and what holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin.coarsen import coarsen_far
from twin.errors import TwinError
from twin.foreground import find_foreground
from twin.hull import HullSettings, carve_hull
from twin.hull_ghosts import without_ghosts
from twin.mesh import Mesh
from twin.objects import ObjectSettings, make_body, split_scene, with_pieces
from twin.observation import Observation
from twin.rig import Rig
from twin.scene import Body, RobotMotion, Scene
from twin.texture import textured
from twin.tsdf import TsdfSettings, fuse_depth
from twin.visible import robot_surface
from urdf import Robot

STOOD = 20  # instants at which the robot is kept apart from objects


@dataclass(frozen=True)
class BuildSettings:
    """How a twin is built.

    Attributes:
        voxel: metres between samples of the fused surface.
        frames: most pictures of a camera that tell what stands still.
        bounds: (low, high), each three metres in the base frame: what is fused; None: everything.
        density: kg/m3 of objects.
        seed: of the random searches.
    """

    voxel: float = 0.004
    frames: int = 50
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    density: float = 300.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fused:
    """surface: of what stands still, in the base frame; objects: closed or open meshes by name, from masks.

    kind: "depth" or "hull". warnings: one line each.
    """

    surface: Mesh | None
    objects: dict[str, Mesh]
    kind: str
    warnings: tuple[str, ...] = ()


def fuse(views: Sequence[Observation], objects: Mapping[str, Sequence[Observation]], settings: BuildSettings) -> Fused:
    """Fuse still pictures: depth where there is any, else the visual hull of what stands out from the plane below.

    Where too few cameras see a plane together, nothing is fused and a warning says so.

    Args:
        views: one a camera, see `still_pictures`. objects: the same with the masks of each object.

    Raises:
        TwinError: nothing to fuse, or more voxels than memory holds.
    """
    s = settings
    with_depth = [view for view in views if view.depth is not None]
    if with_depth:
        tsdf = TsdfSettings(voxel=s.voxel, bounds=s.bounds)
        own = {}
        for name, seen in objects.items():
            own[name] = fuse_depth([_only(view) for view in seen if view.depth is not None], tsdf)
        rest = [_without(view, [seen for group in objects.values() for seen in group]) for view in with_depth]
        blind = len(views) - len(with_depth)
        note = (f"{blind} of {len(views)} cameras have no depth and add nothing to the surface",) if blind else ()
        return Fused(fuse_depth(rest, tsdf), own, "depth", note)
    hull = HullSettings(voxel=s.voxel, bounds=s.bounds)
    if objects:
        return Fused(None, {name: carve_hull(seen, hull) for name, seen in objects.items()}, "hull", ())
    try:
        found = find_foreground(views, s.bounds)
    except TwinError as error:  # cameras and robot are a scene, too
        return Fused(None, {}, "hull", (f"no background and no objects: {error}",))
    carved, ghosts = without_ghosts(carve_hull(found.views, replace(hull, bounds=found.bounds)), found.views)
    said = [
        "no depth: objects are visual hulls of what differs from the plane below them, the background is that plane"
    ]
    if ghosts:
        said.append(f"{ghosts} pieces of the hull explained nothing that others do not, and were left out")
    return Fused(joined([found.plane, carved]), {}, "hull", tuple(said))


def assemble(
    fused: Fused, rig: Rig, robot: Robot | None, motion: RobotMotion | None, settings: BuildSettings,
    views: Sequence[Observation] = (),
) -> Scene:  # fmt: skip
    """Tell the objects of a fused surface apart and put the scene together; `views` give them textures."""
    how = ObjectSettings(density=settings.density)
    bodies: list[Body] = []
    warnings = list(fused.warnings)
    background = None
    if fused.surface is not None:
        split = split_scene(fused.surface, how, keep_out=_stood(robot, motion))
        background, bodies = coarsen_far(split.background), list(split.bodies)
        warnings += split.warnings
    for name, mesh in fused.objects.items():
        bodies = [*(other for other in bodies if other.name != name), make_body(name, mesh, settings=how)]
    pieced, said = with_pieces(bodies, how.collision)
    warnings += said
    if views and pieced:
        pieced = textured(pieced, background, views)
    cameras = {c.name: c.camera for c in rig.cameras if c.camera is not None and c.camera.T_cam_base is not None}
    return Scene(background, pieced, motion, cameras, metrics={"fused": fused.kind}, warnings=tuple(warnings))


def _stood(robot: Robot | None, motion: RobotMotion | None) -> np.ndarray | None:
    """Points (N,3) of the robot at some of its instants: what is left of it there is no object."""
    if robot is None or motion is None:
        return None
    known = np.flatnonzero(np.isfinite(motion.q).all(1))
    some = known[np.unique(np.linspace(0, len(known) - 1, min(STOOD, len(known))).round().astype(int))]
    points = [robot_surface(robot, motion.q[t])[0][::4] for t in some]
    return np.concatenate(points) if points else None


def _only(view: Observation) -> Observation:
    """The view with nothing but its mask."""
    hidden = ~view.mask if view.ignore is None else ~view.mask | view.ignore  # type: ignore[operator]
    return replace(view, ignore=hidden)


def _without(view: Observation, masked: Sequence[Observation]) -> Observation:
    """The view without the objects that have meshes of their own."""
    hidden = np.zeros(view.image.shape[:2], bool) if view.ignore is None else view.ignore.copy()
    for other in masked:
        if other.view == view.view and other.mask is not None:
            hidden |= other.mask
    return replace(view, ignore=hidden)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh with vertex colours."""
    if not meshes:
        raise TwinError("nothing to fuse")
    start = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    grey = [np.full((len(m.vertices), 3), 128, np.uint8) if m.colors is None else m.colors for m in meshes]
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + n for m, n in zip(meshes, start)]).astype(np.int32),
        np.concatenate(grey),
    )
