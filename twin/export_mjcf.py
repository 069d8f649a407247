"""The scene as MJCF for MuJoCo: objects that rest, the robot held at its fitted pose, the cameras of the rig.

Keyframe `fitted` is the scene as it was seen. The robot is carried by position actuators with its gravity
compensated: its masses are estimates. The background is drawn and touches nothing; bodies collide by convex pieces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from pose.camera import Camera
from twin.links import LinkBody, joint_limits, joint_values
from twin.model_files import ModelFiles, Shape
from twin.scene import Body, Scene
from twin.xml import add, quaternion, unique, write_xml
from urdf import Robot
from urdf.robot import FIXED, REVOLUTE

OBJECTS, ROBOT = 1, 2  # bits of contact: objects and fixed bodies; the robot, which does not touch itself
STIFF = {True: (2000.0, 200.0), False: (5000.0, 500.0)}  # of turning and sliding joints: N(m) a unit, and a unit/s
DAMPING = 1.0
ROLLING = (0.005, 0.0005)  # metres of MuJoCo's torsional and rolling friction: round things come to rest


def write_mjcf(path: Path, scene: Scene, robot: Robot | None, q: np.ndarray | None, files: ModelFiles) -> None:
    """Write scene.xml; mesh paths are relative to it.

    Args:
        robot: None in a scene without one. q: (n,) its joints at the keyframe, radians and metres.
    """
    root = etree.Element("mujoco", model="scene")
    add(root, "compiler", angle="radian", autolimits=True, balanceinertia=True, meshdir=".", texturedir=".")
    add(root, "option", gravity=scene.gravity, timestep=0.002, integrator="implicitfast", cone="elliptic")
    add(root, "statistic", center=(0.4, 0, 0.2), extent=1.5)
    visual = add(root, "visual")
    add(visual, "headlight", ambient=(0.5, 0.5, 0.5), diffuse=(0.5, 0.5, 0.5))
    _defaults(root)
    assets, world = add(root, "asset"), add(root, "worldbody")
    add(world, "light", pos=(0, 0, 3), dir=(0, 0, -1), directional=True)
    names = _Names()
    for name, camera in scene.cameras.items():
        _camera(world, names.of("camera", name), camera)
    if files.background is not None:
        _geoms(world, assets, "background", files.background, names, {})
    qpos = [v for body in scene.bodies for v in _add_body(world, assets, body, files.bodies[body.name], names)]
    if robot is not None:
        assert q is not None
        q = robot.clip(q)
        values, order = _add_robot(root, world, assets, robot, files, names)
        at = joint_values(robot, q)
        qpos += [float(at[row]) for row in values]
        add(add(root, "keyframe"), "key", name="fitted", qpos=qpos, ctrl=[float(q[c]) for c in order])
    elif qpos:
        add(add(root, "keyframe"), "key", name="fitted", qpos=qpos)
    write_xml(path, root)


class _Names:
    """Names that differ within a kind of element."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}

    def of(self, kind: str, name: str) -> str:
        """The name, with a number where it is taken."""
        return unique(name, self._taken.setdefault(kind, {"world"}))


def _defaults(root: etree._Element) -> None:
    top = add(root, "default")
    drawn = add(top, "default", class_="visual")
    add(drawn, "geom", type="mesh", contype=0, conaffinity=0, group=2, mass=0)
    solid = add(top, "default", class_="collision")
    add(solid, "geom", type="mesh", contype=OBJECTS, conaffinity=OBJECTS | ROBOT, condim=6, group=3)
    robot = add(top, "default", class_="robot")
    add(robot, "geom", type="mesh", contype=ROBOT, conaffinity=0, group=3)
    add(robot, "joint", damping=DAMPING, armature=0.05)


def _camera(world: etree._Element, name: str, camera: Camera) -> None:
    """A camera; MuJoCo's look along -z with y up, have half-pixel centres, and know no distortion."""
    if camera.T_cam_base is None:
        return
    T = np.linalg.inv(np.asarray(camera.T_cam_base, float)) @ np.diag([1.0, -1, -1, 1])
    K = np.asarray(camera.K, float)
    off = (camera.width / 2 - 0.5 - K[0, 2], K[1, 2] + 0.5 - camera.height / 2)
    add(
        world, "camera", name=name, pos=T[:3, 3], quat=quaternion(T[:3, :3]),
        resolution=(camera.width, camera.height), focalpixel=(K[0, 0], K[1, 1]), principalpixel=off,
        sensorsize=(1e-3 * camera.width, 1e-3 * camera.height),
    )  # fmt: skip


def _geoms(
    body: etree._Element, assets: etree._Element, name: str, shape: Shape, names: _Names, solid: dict[str, Any]
) -> None:
    """The drawn surface of a body, and its convex pieces with the attributes `solid`."""
    if shape.visual is not None:
        # open surfaces have no volume to find a centre by
        mesh = _mesh(assets, names.of("mesh", name), shape.visual, "shell")
        material = None
        if shape.texture is not None:
            material = names.of("material", name)
            add(assets, "texture", name=material, type="2d", file=shape.texture)
            add(assets, "material", name=material, texture=material, specular=0.1)
        add(body, "geom", class_="visual", mesh=mesh, material=material)
    for piece in shape.collision:
        add(body, "geom", mesh=_mesh(assets, names.of("mesh", f"{name}_piece"), piece, "convex"), **solid)


def _mesh(assets: etree._Element, name: str, file: str, inertia: str) -> str:
    add(assets, "mesh", name=name, file=file, inertia=inertia)
    return name


def _add_body(world: etree._Element, assets: etree._Element, body: Body, shape: Shape, names: _Names) -> list[float]:
    """Adds a body; returns its part of qpos, empty for a fixed one."""
    T = np.asarray(body.T_base_body, float)
    place = [*T[:3, 3], *quaternion(T[:3, :3])]
    element = add(world, "body", name=names.of("body", body.name), pos=place[:3], quat=place[3:])
    if not body.static:
        add(element, "freejoint", name=names.of("joint", body.name))
        _inertial(element, body)
    solid = {"class_": "collision", "friction": (body.friction, *ROLLING)}
    _geoms(element, assets, body.name, shape, names, solid)
    return [] if body.static else [float(v) for v in place]


def _inertial(element: etree._Element, body: Body | LinkBody) -> None:
    J = np.asarray(body.inertia, float)
    full = (J[0, 0], J[1, 1], J[2, 2], J[0, 1], J[0, 2], J[1, 2])
    add(element, "inertial", pos=body.center, mass=body.mass, fullinertia=full)


def _add_robot(
    root: etree._Element, world: etree._Element, assets: etree._Element, robot: Robot, files: ModelFiles, names: _Names
) -> tuple[list[int], list[int]]:
    """Adds the robot; returns the links whose joints are in qpos, in that order, and q's columns of the actuators."""
    tree = robot.tree
    actuators, equality = add(root, "actuator"), add(root, "equality")
    driver: dict[int, str] = {}
    mimics, rows, columns = [], [], []
    children: dict[int, list[int]] = {}
    for row, parent in enumerate(tree.parent):
        children.setdefault(int(parent), []).append(row)

    def descend(parent: etree._Element, row: int) -> None:
        part, T = files.parts[row], tree.origin[row]
        element = add(
            parent, "body", name=names.of("body", part.name), pos=T[:3, 3], quat=quaternion(T[:3, :3]), gravcomp=1
        )
        fixed = tree.kind[row] == FIXED
        if not fixed:
            turning, limits = bool(tree.kind[row] == REVOLUTE), joint_limits(robot, row)
            joint = names.of("joint", part.joint)
            add(
                element, "joint", class_="robot", name=joint, type="hinge" if turning else "slide",
                axis=tree.axis[row], range=limits,
            )  # fmt: skip
            rows.append(row)
            column = int(tree.q_index[row])
            if part.joint == robot.joint_names[column]:
                driver[column] = joint
                columns.append(column)
                kp, kv = STIFF[turning]
                add(actuators, "position", name=joint, joint=joint, kp=kp, kv=kv, ctrlrange=limits)
            else:
                mimics.append((joint, column, row))
        if part.mass > 0:
            _inertial(element, part)
        _geoms(element, assets, part.name, files.links[part.name], names, {"class_": "robot"})
        for child in children.get(row, []):
            descend(element, child)

    for row in children.get(-1, []):
        descend(world, row)
    for joint, column, row in mimics:
        # the joint that is followed is q itself; the other one's own law is a line in it
        law = (tree.offset[row], tree.multiplier[row], 0, 0, 0)
        add(equality, "joint", joint1=joint, joint2=driver[column], polycoef=law)
    return rows, columns
