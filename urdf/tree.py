"""The kinematic tree of a description: checked, sorted, and written back as URDF text without geometry."""

from __future__ import annotations

from dataclasses import replace
from xml.sax.saxutils import quoteattr

import numpy as np

from urdf.description import Description, Joint, show, transform
from urdf.errors import RobotError
from urdf.robot import FIXED, PRISMATIC, REVOLUTE, KinematicTree

MAX_CHAIN = 100  # joints that mimic one another in a row


def check(description: Description, source: str) -> Description:
    """The description with mimic chains flattened to independent joints.

    Raises:
        RobotError: a joint names an unknown link, a link has two parents, there is no root or several, links
            form a cycle, or a mimic joint names an unknown or fixed joint or, in the end, itself.
    """
    links = set(description.links)
    above: dict[str, Joint] = {}
    for joint in description.joints:
        for end in (joint.parent, joint.child):
            if end not in links:
                raise RobotError(f"{source}: joint {show(joint.name)} names link {show(end)}, which does not exist")
        if joint.child in above:
            both = f"{show(above[joint.child].name)} and {show(joint.name)}"
            raise RobotError(f"{source}: link {show(joint.child)} has two parent joints, {both}")
        above[joint.child] = joint
    roots = [name for name in description.links if name not in above]
    if not roots:
        raise RobotError(f"{source}: no link is the root: the joints form a cycle")
    if len(roots) > 1:
        more = ", ".join(show(r) for r in roots[:4])
        raise RobotError(f"{source}: {len(roots)} links have no parent ({more}); join them to one root link")
    if len(order(description)) < len(description.links):
        raise RobotError(f"{source}: some links hang on no root: the joints form a cycle")
    by_name = {j.name: j for j in description.joints}
    return replace(description, joints=tuple(_flatten(j, by_name, source) for j in description.joints))


def children(description: Description) -> dict[str, list[Joint]]:
    """The joints that hang on each link, in file order."""
    below: dict[str, list[Joint]] = {}
    for joint in description.joints:
        below.setdefault(joint.parent, []).append(joint)
    return below


def order(description: Description) -> list[str]:
    """Link names, parents before children, siblings in file order."""
    below = children(description)
    hanging = {j.child for j in description.joints}
    stack = [name for name in description.links if name not in hanging]
    names: list[str] = []
    while stack:
        names.append(stack.pop())
        stack.extend(joint.child for joint in reversed(below.get(names[-1], [])))
    return names


def _flatten(joint: Joint, by_name: dict[str, Joint], source: str) -> Joint:
    if joint.mimic is None or joint.kind == "fixed":
        return replace(joint, mimic=None)
    multiplier, offset, seen = 1.0, 0.0, {joint.name}
    leader, where = joint, f"{source}: joint {show(joint.name)} mimics"
    while leader.mimic is not None:
        name, m, o = leader.mimic
        if name not in by_name:
            raise RobotError(f"{where} {show(name)}, which does not exist")
        if name in seen:
            raise RobotError(f"{where} {show(name)}, which leads back to itself")
        if by_name[name].kind == "fixed":
            raise RobotError(f"{where} {show(name)}, which is fixed; it must name a joint that moves")
        multiplier, offset = multiplier * m, multiplier * o + offset
        if len(seen) > MAX_CHAIN or not max(abs(multiplier), abs(offset)) < 1e6:
            raise RobotError(f"{where} {show(name)} through {len(seen)} others; the chain is too long or multiplies up")
        seen.add(name)
        leader = by_name[name]
    return replace(joint, mimic=(leader.name, multiplier, offset))


def independent(description: Description) -> tuple[Joint, ...]:
    """The joints that q holds: moving, no mimic, in file order."""
    return tuple(j for j in description.joints if j.kind != "fixed" and j.mimic is None)


def build_tree(description: Description) -> tuple[tuple[str, ...], KinematicTree]:
    """Link names and the tree of a checked description."""
    names = tuple(order(description))
    row = {name: i for i, name in enumerate(names)}
    column = {j.name: i for i, j in enumerate(independent(description))}
    count = len(names)
    tree = KinematicTree(
        parent=np.full(count, -1, np.int32),
        origin=np.tile(np.eye(4), (count, 1, 1)),
        axis=np.tile([1.0, 0.0, 0.0], (count, 1)),
        kind=np.full(count, FIXED, np.int8),
        q_index=np.full(count, -1, np.int32),
        multiplier=np.ones(count),
        offset=np.zeros(count),
    )
    for joint in description.joints:
        i = row[joint.child]
        tree.parent[i] = row[joint.parent]
        tree.origin[i] = transform(joint.xyz, joint.rpy)
        tree.axis[i] = joint.axis
        if joint.kind == "fixed":
            continue
        tree.kind[i] = PRISMATIC if joint.kind == "prismatic" else REVOLUTE
        leader, tree.multiplier[i], tree.offset[i] = joint.mimic or (joint.name, 1.0, 0.0)
        tree.q_index[i] = column[leader]
    return names, tree


def to_urdf(description: Description) -> str:
    """URDF text of a checked description's kinematics: finite limits, flat mimics, no geometry or inertia."""

    def numbers(values: tuple[float, ...]) -> str:
        return quoteattr(" ".join(repr(float(v)) for v in values))

    lines = [f"<robot name={quoteattr(description.name)}>"]
    lines += [f"  <link name={quoteattr(name)}/>" for name in description.links]
    for j in description.joints:
        lines.append(f"  <joint name={quoteattr(j.name)} type={quoteattr(j.kind)}>")
        lines.append(f"    <parent link={quoteattr(j.parent)}/><child link={quoteattr(j.child)}/>")
        lines.append(f"    <origin xyz={numbers(j.xyz)} rpy={numbers(j.rpy)}/>")
        if j.kind != "fixed":
            velocity = j.velocity if np.isfinite(j.velocity) else 1e3
            lines.append(f"    <axis xyz={numbers(j.axis)}/>")
            limit = f'lower="{j.lower!r}" upper="{j.upper!r}" velocity="{velocity!r}" effort="{j.effort!r}"'
            lines.append(f"    <limit {limit}/>")
        if j.mimic is not None:
            name, multiplier, offset = j.mimic
            lines.append(f'    <mimic joint={quoteattr(name)} multiplier="{multiplier!r}" offset="{offset!r}"/>')
        lines.append("  </joint>")
    return "\n".join([*lines, "</robot>", ""])
