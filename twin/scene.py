"""A scene twin: metres, Z up, its origin and axes those of the robot's base."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pose.camera import Camera
from twin.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Body:
    """A thing of its own in the scene: an object, or the table plane.

    Attributes:
        name: unique, letters, digits and underscores.
        visual: in the body's frame.
        collision: convex pieces in the body's frame.
        T_base_body: (4,4) where it stands.
        mass: kilograms; inertia: (3,3) kg m2 about `center` in the body's axes; center: (3,) of mass, body frame.
        density: kg/m3 that the mass was computed with.
        material: what it is taken to be made of.
        static: fixed to the world.
        friction: sliding coefficient.
    """

    name: str
    visual: Mesh
    collision: tuple[Mesh, ...]
    T_base_body: np.ndarray
    mass: float
    inertia: np.ndarray
    center: np.ndarray
    density: float
    material: str = "unknown"
    static: bool = False
    friction: float = 0.8


@dataclass(frozen=True, eq=False)
class RobotMotion:
    """The robot in the scene; its base frame is the world.

    Attributes:
        robot: what `urdf.load_robot` takes.
        joint_names: n; q: (T,n) radians or metres, NaN rows where unknown; times: (T,) seconds.
        pose_index: the row in which it stands in still exports.
    """

    robot: str
    joint_names: tuple[str, ...]
    q: np.ndarray
    times: np.ndarray
    pose_index: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything a twin holds.

    Attributes:
        background: static surroundings without the robot, in the base frame; None where nothing was fused.
        bodies: objects and planes. robot: None in a scene without one.
        cameras: by name, with T_cam_base.
        gravity: (3,) m/s2. metrics: JSON values. warnings: one line each.
    """

    background: Mesh | None
    bodies: tuple[Body, ...]
    robot: RobotMotion | None
    cameras: dict[str, Camera]
    gravity: tuple[float, float, float] = (0.0, 0.0, -9.81)
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
