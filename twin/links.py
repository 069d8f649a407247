"""The robot's links as bodies of a simulator: one coloured mesh, one convex hull and a mass for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from twin.mesh import Mesh
from twin.physics import mass_of
from urdf import Robot
from urdf.description import parse_xml
from urdf.robot import FIXED

DENSITY = 1000.0  # kg/m3 of a link's hull: descriptions are read without their masses
LEAST_MASS = 1e-3  # kg of a link without a surface that a joint moves: simulators refuse none


@dataclass(frozen=True, eq=False)
class LinkBody:
    """One link.

    Attributes:
        name: of the link. row: of it in the robot's tree. joint: name of the joint that carries it, "" for the root.
        visual: in the link's frame, a colour a vertex; None for a link without a surface.
        hull: its convex hull; None where the surface is flat or absent.
        mass: kilograms, 0 for a link that is fixed and has no hull. center: (3,); inertia: (3,3) about it.
    """

    name: str
    row: int
    joint: str
    visual: Mesh | None
    hull: Mesh | None
    mass: float
    center: np.ndarray
    inertia: np.ndarray


def link_bodies(robot: Robot) -> tuple[LinkBody, ...]:
    """All links in the order of the tree; masses are those of their hulls, good for posing, not for torques."""
    joints = _joint_names(robot)
    return tuple(_body(robot, row, name, joints.get(name, "")) for row, name in enumerate(robot.link_names))


def joint_values(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(L,) value of every link's own joint at q (n,), mimic joints included; 0 for fixed ones."""
    tree = robot.tree
    driven = np.where(tree.q_index >= 0, np.asarray(q, float)[tree.q_index], 0)
    return np.where(tree.kind == FIXED, 0, tree.multiplier * driven + tree.offset)


def joint_limits(robot: Robot, row: int) -> tuple[float, float] | None:
    """Lowest and highest value of the joint of a link, None where it turns without end."""
    column = robot.tree.q_index[row]
    if robot.continuous[column]:
        return None
    ends = robot.tree.multiplier[row] * np.array([robot.lower[column], robot.upper[column]]) + robot.tree.offset[row]
    return float(ends.min()), float(ends.max())


def _joint_names(robot: Robot) -> dict[str, str]:
    """Child link to joint."""
    root = parse_xml(robot.urdf_xml.encode(), robot.name)
    return {str(j.find("child").get("link")): str(j.get("name")) for j in root.findall("joint")}


def _body(robot: Robot, row: int, name: str, joint: str) -> LinkBody:
    moved = robot.tree.parent[row] >= 0 and robot.tree.kind[row] != FIXED
    least = LEAST_MASS if moved else 0.0
    mine = robot.mesh.face_link == row
    if not mine.any():
        return LinkBody(name, row, joint, None, None, least, np.zeros(3), np.eye(3) * least * 1e-3)
    visual = _colored(robot.mesh.vertices[robot.mesh.faces[mine]], robot.mesh.face_color[mine])
    hull = _hull(visual.vertices)
    if hull is None:
        return LinkBody(name, row, joint, visual, None, least, visual.vertices.mean(0), np.eye(3) * least * 1e-3)
    weight = mass_of(hull, DENSITY)
    return LinkBody(name, row, joint, visual, hull, max(weight.mass, least), weight.center, weight.inertia)


def _colored(corners: np.ndarray, color: np.ndarray) -> Mesh:
    """Triangles (F,3,3) with a colour each, corners of one place and colour welded."""
    shade = np.repeat((np.clip(color, 0, 1) * 255).round(), 3, axis=0)
    table = np.column_stack([corners.reshape(-1, 3).astype(float), shade])
    rows, index = np.unique(table, axis=0, return_inverse=True)
    return Mesh(rows[:, :3], index.reshape(-1, 3).astype(np.int32), rows[:, 3:].astype(np.uint8))


def _hull(points: np.ndarray) -> Mesh | None:
    try:
        hull = ConvexHull(points)
    except QhullError:  # flat
        return None
    corners = np.full(len(points), -1)
    corners[hull.vertices] = np.arange(len(hull.vertices))
    faces = corners[hull.simplices]
    vertices = points[hull.vertices]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward, ::-1]
    return Mesh(vertices, faces.astype(np.int32))
