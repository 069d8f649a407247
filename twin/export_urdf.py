"""The scene as one URDF: robot, background and bodies under a link `world`.

URDF has no state: the robot's fitted joints are in scene.json and robot.parquet. Objects hang on floating joints, as
the format has them (http://wiki.ros.org/urdf/XML/joint); readers that know none treat them as fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lxml import etree
from scipy.spatial.transform import Rotation

from twin.links import LinkBody
from twin.model_files import ModelFiles, Shape
from twin.scene import Body, Scene
from twin.xml import add, unique, write_xml
from urdf import Robot
from urdf.description import parse_xml


def write_urdf(path: Path, scene: Scene, robot: Robot | None, files: ModelFiles) -> None:
    """Write scene.urdf; mesh paths are relative to it."""
    root = etree.Element("robot", name="scene")
    add(root, "link", name="world")
    taken = {"world"}
    if robot is not None:
        _add_robot(root, robot, files, taken)
    if files.background is not None:
        name = unique("background", taken)
        _shape(add(root, "link", name=name), files.background, None)
        _joint(root, f"{name}_joint", "fixed", name, np.eye(4))
    for body in scene.bodies:
        name = unique(body.name, taken)
        link = add(root, "link", name=name)
        _inertial(link, body)
        _shape(link, files.bodies[body.name], body)
        _joint(root, f"{name}_joint", "fixed" if body.static else "floating", name, body.T_base_body)
    write_xml(path, root)


def _add_robot(root: etree._Element, robot: Robot, files: ModelFiles, taken: set[str]) -> None:
    for part in files.parts:
        link = add(root, "link", name=part.name)
        taken.add(part.name)
        if part.mass > 0:
            _inertial(link, part)
        _shape(link, files.links[part.name], None)
    _joint(root, "world_robot", "fixed", robot.base_link, np.eye(4))
    for joint in parse_xml(robot.urdf_xml.encode(), robot.name).findall("joint"):
        root.append(joint)


def _shape(link: etree._Element, shape: Shape, body: Body | None) -> None:
    if shape.visual is not None:
        visual = add(link, "visual")
        add(add(visual, "geometry"), "mesh", filename=shape.visual)
    for piece in shape.collision:
        collision = add(link, "collision")
        add(add(collision, "geometry"), "mesh", filename=piece)
    if body is not None:
        # PyBullet reads friction here; the URDF standard has no place for it
        add(add(link, "contact"), "lateral_friction", value=body.friction)


def _inertial(link: etree._Element, body: Body | LinkBody) -> None:
    inertial = add(link, "inertial")
    add(inertial, "origin", xyz=body.center, rpy=np.zeros(3))
    add(inertial, "mass", value=body.mass)
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
    add(inertial, "inertia", ixx=xx, ixy=xy, ixz=xz, iyy=yy, iyz=yz, izz=zz)


def _joint(root: etree._Element, name: str, kind: str, child: str, T_world_child: np.ndarray) -> None:
    joint = add(root, "joint", name=name, type=kind)
    add(joint, "parent", link="world")
    add(joint, "child", link=child)
    add(joint, "origin", xyz=T_world_child[:3, 3], rpy=Rotation.from_matrix(T_world_child[:3, :3]).as_euler("xyz"))
