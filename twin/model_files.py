"""The meshes that scene.urdf and scene.xml refer to, and where they lie in the scene's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twin.coarsen import coarsen_far
from twin.links import LinkBody, link_bodies
from twin.mesh import Mesh
from twin.obj import write_obj
from twin.scene import Body, Scene
from urdf import Robot


@dataclass(frozen=True)
class Shape:
    """Files of one body by their paths in the scene's folder.

    Attributes:
        visual: None for a link without a surface. texture: of it, None without. collision: convex pieces.
    """

    visual: str | None
    texture: str | None
    collision: tuple[str, ...]


@dataclass(frozen=True)
class ModelFiles:
    """background: None in a scene without one. bodies and links by name, in their order."""

    background: Shape | None
    bodies: dict[str, Shape]
    links: dict[str, Shape]
    parts: tuple[LinkBody, ...]


def write_model_files(folder: Path, scene: Scene, robot: Robot | None) -> ModelFiles:
    """Write background.obj, objects/<name>/visual.obj, robot/<link>.obj; the pieces of bodies are there already."""
    background = None
    if scene.background is not None:
        background = _visual(folder, folder / "background.obj", simulated(scene.background))
    parts = () if robot is None else link_bodies(robot)
    (folder / "robot").mkdir(exist_ok=True)
    links = {part.name: _link(folder, number, part) for number, part in enumerate(parts)}
    return ModelFiles(background, {b.name: _body(folder, b) for b in scene.bodies}, links, parts)


def simulated(background: Mesh) -> Mesh:
    """The background as simulators draw it: by cells of a centimetre, a tenth of the triangles."""
    return coarsen_far(background, 0.0, 0.01)


def _visual(folder: Path, path: Path, mesh: Mesh, collision: tuple[str, ...] = ()) -> Shape:
    texture = write_obj(path, mesh)
    named = None if texture is None else texture.relative_to(folder).as_posix()
    return Shape(path.relative_to(folder).as_posix(), named, collision)


def _body(folder: Path, body: Body) -> Shape:
    home = folder / "objects" / body.name
    pieces = tuple(f"objects/{body.name}/collision/{n}.obj" for n in range(len(body.collision)))
    return _visual(folder, home / "visual.obj", body.visual, pieces)


def _link(folder: Path, number: int, part: LinkBody) -> Shape:
    if part.visual is None:
        return Shape(None, None, ())
    hull: tuple[str, ...] = ()
    stem = folder / "robot" / f"link_{number}"  # names of links may be no names of files
    if part.hull is not None:
        write_obj(stem.with_name(f"{stem.name}_hull.obj"), part.hull)
        hull = (f"robot/{stem.name}_hull.obj",)
    return _visual(folder, stem.with_suffix(".obj"), part.visual, hull)
