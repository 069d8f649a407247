"""A robot as text: its tree, its joints and its links, in at most 100 columns."""

from __future__ import annotations

import numpy as np

from flows.robot_findings import limit_flag
from flows.robot_views import base_mask
from urdf import Robot
from urdf.description import Description, Joint
from urdf.meshes import MeshBuilder, open_edges
from urdf.robot import RobotMesh
from urdf.tree import build_tree

WIDTH = 100
INDENT, DEEPEST = 1, 24  # columns a level, and where indenting ends


def shortened(text: str, width: int) -> str:
    """The text in at most `width` columns, with its middle left out."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def part_of_links(robot: Robot) -> list[str]:
    """ "arm", "gripper" or "base" for each link."""
    return ["base" if base else part for base, part in zip(base_mask(robot), robot.link_parts)]


def tree_lines(description: Description, robot: Robot | None) -> list[str]:
    """A line a link: its name, indented by its depth; the joint above it; its part."""
    names, tree = build_tree(description)
    parts = part_of_links(robot) if robot is not None else [""] * len(names)
    above = {j.child: j for j in description.joints}
    drawn = {v.link for v in description.visuals}
    depth = np.zeros(len(names), int)
    for link, parent in enumerate(tree.parent):
        if parent >= 0:
            depth[link] = depth[parent] + 1
    indents = [" " * min(INDENT * d, DEEPEST) for d in depth]
    left = min(46, max(len(i) + len(n) for i, n in zip(indents, names)) + 2)
    lines = []
    for link, name in enumerate(names):
        cell = indents[link] + shortened(name, left - 2 - len(indents[link]))
        label = parts[link] if name in drawn else "-"
        joint = joint_text(above[name], WIDTH - left - 9) if name in above else ""
        lines.append(f"{cell:<{left}}{joint:<{WIDTH - left - 9}} {label}".rstrip())
    return lines


def joint_text(joint: Joint, width: int) -> str:
    """A joint in a few words: name, motion and range, or what it follows."""
    if joint.kind == "fixed":
        return "fixed"
    if joint.mimic is not None:
        motion = "follows " + shortened(joint.mimic[0], 24)
    elif joint.kind == "continuous":
        motion = "turns endlessly"
    elif joint.kind == "prismatic":
        motion = f"slides {1000 * joint.lower:.0f} .. {1000 * joint.upper:.0f} mm"
    else:
        motion = f"turns {np.rad2deg(joint.lower):.0f} .. {np.rad2deg(joint.upper):.0f}°"
    return f"{shortened(joint.name, width - len(motion) - 2)}  {motion}"


def joint_rows(description: Description, robot: Robot) -> list[tuple[str, ...]]:
    """Rows of joint, part, lower, upper, rest, velocity and remarks, for the joints that q holds."""
    by_name = {j.name: j for j in description.joints}
    hand = set(robot.gripper_joints.tolist())
    symmetric = dict(robot.symmetric)
    rows = []
    for column, name in enumerate(robot.joint_names):
        joint = by_name[name]
        factor, unit = (1000.0, " mm") if joint.kind == "prismatic" else (float(np.rad2deg(1.0)), "°")
        ends = ("endless", "") if joint.kind == "continuous" else tuple(
            f"{factor * v:.1f}{unit}" for v in (joint.lower, joint.upper)
        )  # fmt: skip
        speed = f"{factor * joint.velocity:.0f}{unit}/s" if np.isfinite(joint.velocity) else "-"
        remarks = [limit_flag(joint.kind, joint.lower, joint.upper)]
        if name in symmetric:
            remarks.append(f"alike after {np.rad2deg(symmetric[name]):.0f}°")
        if name in robot.unobservable:
            remarks.append("unobservable")
        rest = f"{factor * robot.rest[column]:.1f}{unit}"
        rows.append(
            (name, "gripper" if column in hand else "arm", *ends, rest, speed, "; ".join(filter(None, remarks)))
        )
    return rows


def link_rows(robot: Robot, full: RobotMesh) -> list[tuple[str, ...]]:
    """Rows of link, part, triangles of the full, display and fitting mesh, and open edges, for links drawn; a sum."""
    parts = part_of_links(robot)
    count = len(robot.link_names)
    counts = [np.bincount(m.face_link, minlength=count) for m in (full, robot.display_mesh, robot.mesh)]
    edges = open_edges(full, count)
    rows = [
        (name, parts[i], *(str(c[i]) for c in counts), str(edges[i]) if edges[i] else "closed")
        for i, name in enumerate(robot.link_names)
        if counts[0][i]
    ]
    return [*rows, ("all", "", *(str(c.sum()) for c in counts), str(edges.sum()))]


def full_mesh(description: Description, robot: Robot) -> RobotMesh:
    """All triangles of the description, as they are before any is left out."""
    gripper = np.array([part == "gripper" for part in robot.link_parts])
    return MeshBuilder(description.visuals, robot.link_names, gripper, robot.name).full()
