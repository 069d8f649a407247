"""A synthetic scene for rigs: a table in a room, six objects on it, and cameras around it; its truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from pose.camera import Camera
from pose.props import box, grid, poster, revolve, speckle, wood
from pose.shading import Material, Prop
from twin.mesh import Mesh
from twin.physics import mass_of
from twin.scene import Body, RobotMotion, Scene

TABLE_Z = -0.001  # metres; the robot's base stands on it
REGION = np.array([[-0.35, -0.75, -0.05], [1.25, 0.75, 0.9]])  # what twins of this scene are measured in
DENSITY = 300.0
SEED = 11


@dataclass(frozen=True, eq=False)
class SampleScene:
    """Attributes: room, what does not move; objects by name, each a closed body placed by `T_base_prop`."""

    room: tuple[Prop, ...]
    objects: dict[str, Prop]

    @property
    def props(self) -> tuple[Prop, ...]:
        """All there is to draw besides the robot."""
        return (*self.room, *self.objects.values())

    def truth(self, robot: RobotMotion | None, cameras: dict[str, Camera]) -> Scene:
        """The scene as a twin, exact; `metrics["region"]` bounds what is measured."""
        background = merged([mesh_of(p) for p in self.room])
        bodies = []
        for name, prop in self.objects.items():
            mesh = mesh_of(prop)
            mass = mass_of(mesh, DENSITY)
            bodies.append(
                Body(name, mesh, (), np.asarray(prop.T_base_prop), mass.mass, mass.inertia, mass.center, DENSITY)
            )
        return Scene(background, tuple(bodies), robot, cameras, metrics={"region": REGION.tolist()})


def sample_scene() -> SampleScene:
    """The same scene every time. Nothing stands in the way of the demo's arm motion."""
    rng = np.random.default_rng(SEED)
    table = Material((1, 1, 1), 0.5, texture=wood(rng), texture_size=0.9)
    floor = Material((1, 1, 1), 0.7, texture=speckle(rng, color=(0.42, 0.42, 0.44)), texture_size=0.8)
    wall = Material((1, 1, 1), 0.9, texture=speckle(rng, color=(0.72, 0.7, 0.66), contrast=0.1), texture_size=1.5)
    x, y, z = np.eye(3)
    room = (
        box((1.6, 1.5, 0.04), table, (0.45, 0, TABLE_Z - 0.02), 16),
        Prop(*grid(np.array([-2.0, -2.2, -0.75]), 4.2 * x, 4.4 * y, 32), floor),
        Prop(*grid(np.array([-1.5, -2.2, -0.75]), 4.4 * y, 2.6 * z, 24), wall),
        Prop(*grid(np.array([-2.0, -2.2, -0.75]), 4.2 * x, 2.6 * z, 24), wall),
        Prop(*grid(np.array([-2.0, 2.2, -0.75]), 4.2 * x, 2.6 * z, 24), wall),
        box((0.4, 0.9, 1.1), Material((0.45, 0.5, 0.55), 0.6), (-1.2, 1.2, -0.2), 8),
    )
    return SampleScene(room, _objects(rng))


def _objects(rng: np.random.Generator) -> dict[str, Prop]:
    def printed(side: float) -> Material:
        return Material((1, 1, 1), 0.6, texture=poster(rng), texture_size=side)

    def standing(size: tuple[float, float, float]) -> Prop:
        return box(size, printed(0.2), (0, 0, size[2] / 2))

    def turned(profile: list[tuple[float, float]], material: Material) -> Prop:
        return revolve(np.array([(0.0, profile[0][1]), *profile, (0.0, profile[-1][1])]), material, 40)

    bottle = [(0.033, 0), (0.036, 0.01), (0.036, 0.12), (0.014, 0.16), (0.014, 0.2)]
    bowl = [(0.035, 0), (0.065, 0.012), (0.085, 0.06), (0.073, 0.06), (0.052, 0.028), (0.03, 0.02)]
    return {
        "carton": _placed(standing((0.16, 0.07, 0.2)), 0.42, -0.42, 0.5),
        "can": _placed(turned([(0.038, 0), (0.038, 0.11)], printed(0.15)), 0.85, -0.32, 0.0),
        "bottle": _placed(turned(bottle, Material((0.1, 0.45, 0.2), 0.4)), 0.72, 0.46, 0.0),
        "bowl": _placed(turned(bowl, Material((0.75, 0.3, 0.2), 0.5)), 0.93, 0.12, 0.0),
        "toy": _placed(_toy(), 0.4, 0.45, 1.1),
        "book": _placed(standing((0.2, 0.14, 0.03)), 0.68, -0.5, -0.3),
    }


def _toy() -> Prop:
    """A lumpy thing that nothing about its shape repeats, standing flat on z = 0."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    v = np.asarray(ball.vertices) * [0.06, 0.045, 0.05]
    lumps = np.array([[90, 0, 40], [-30, 70, 10], [20, -40, 80.0]])
    v *= 1 + 0.12 * np.sin(v @ lumps.T + [0.3, 1.1, 2.0]).sum(1, keepdims=True)
    v[:, 2] = np.maximum(v[:, 2], -0.032) + 0.032
    return Prop(v.astype(np.float32), np.asarray(ball.faces, np.int32), Material((0.85, 0.65, 0.1), 0.6))


def _placed(prop: Prop, x: float, y: float, turn: float) -> Prop:
    T = np.eye(4)
    T[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    T[:3, 3] = x, y, TABLE_Z
    return prop.placed(T)


def sample_cameras(scale: float = 1.0) -> dict[str, Camera]:
    """Three cameras that see robot and table: one plain, one mounted upside down, one wider, with lens distortion."""
    front = _looking((1.6, 0.35, 0.9), (0.48, 0.0, 0.17), (640, 480), 540.0)
    side = _looking((0.5, -1.25, 0.9), (0.45, 0.0, 0.17), (640, 480), 530.0, upside_down=True)
    left = _looking((0.25, 1.15, 0.95), (0.45, 0.0, 0.17), (848, 480), 510.0)
    lens = Camera(left.width, left.height, left.K, left.T_cam_base, (0.06, -0.12, 0.0008, -0.0005, 0.03))
    return {"front": front.scaled(scale), "side": side.scaled(scale), "left": lens.scaled(scale)}


def _looking(
    eye: tuple[float, float, float], target: tuple[float, float, float], size: tuple[int, int], focal: float,
    upside_down: bool = False,
) -> Camera:  # fmt: skip
    at = np.array(eye)
    z = np.array(target) - at
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x) * (-1 if upside_down else 1)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ at
    return Camera.from_focal(*size, focal, T)


def mesh_of(prop: Prop) -> Mesh:
    """A prop as a mesh in its own frame: corners welded, normals outwards where it is closed, its mean colour."""
    shape = trimesh.Trimesh(np.asarray(prop.vertices, float), prop.faces, process=False)
    shape.merge_vertices(digits_vertex=6)
    shape.update_faces(shape.nondegenerate_faces())
    shape.remove_unreferenced_vertices()
    trimesh.repair.fix_normals(shape)
    color = np.asarray(prop.material.color, float)
    if prop.material.texture is not None:
        color = color * prop.material.texture.reshape(-1, 3).mean(0) / 255
    colors = np.tile((color * 255).round().astype(np.uint8), (len(shape.vertices), 1))
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces, np.int32), colors)


def merged(meshes: list[Mesh]) -> Mesh:
    """One mesh from several that all have vertex colours."""
    start = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + n for m, n in zip(meshes, start)]).astype(np.int32),
        np.concatenate([m.colors for m in meshes if m.colors is not None]),
    )
