"""Which links are the gripper, which joints move it, and which link is the end effector."""

from __future__ import annotations

import re

import numpy as np

from urdf.description import Description
from urdf.robot import KinematicTree
from urdf.tree import independent

_START, _END = r"(?:^|[^a-z])", r"(?:$|[^a-z])"
FINGER = re.compile(rf"finger|jaw|knuckle|thumb|claw|{_START}pads?{_END}", re.IGNORECASE)
GRIPPER = re.compile(rf"{FINGER.pattern}|gripper|robotiq|{_START}hand{_END}|end_?effector_tool", re.IGNORECASE)
TOOL = re.compile(
    r"(?:^|[_/])(?:tcp|tool0|tool_center|ee_link|ee_gripper_link|grasp(?:_target)?|ee)(?:$|[_/])",
    re.IGNORECASE,
)


def gripper_mask(description: Description, names: tuple[str, ...], tree: KinematicTree) -> np.ndarray:
    """(L,) bool: the links labelled as gripper, else those whose names say so, and all below them."""
    known = description.labels.gripper_links
    own = set(guess_gripper_links(description) if known is None else known)
    mask = np.zeros(len(names), bool)
    for i, name in enumerate(names):
        mask[i] = name in own or (tree.parent[i] >= 0 and mask[tree.parent[i]])
    return mask


def guess_gripper_links(description: Description) -> tuple[str, ...]:
    """Links whose name, or whose joint's name, speaks of a gripper."""
    joint_of = {j.child: j.name for j in description.joints}
    return tuple(n for n in description.links if GRIPPER.search(n) or FINGER.search(joint_of.get(n, "")))


def gripper_columns(
    description: Description, names: tuple[str, ...], tree: KinematicTree, gripper: np.ndarray
) -> np.ndarray:
    """Columns of q whose joints sit inside the gripper.

    The joint that carries the gripper belongs to the arm, unless its own name or its link's says finger.
    """
    row = {name: i for i, name in enumerate(names)}
    columns = []
    for column, joint in enumerate(independent(description)):
        child = row[joint.child]
        finger = FINGER.search(joint.name) or FINGER.search(joint.child)
        if gripper[child] and (gripper[tree.parent[child]] or finger):
            columns.append(column)
    return np.array(columns, np.int64)


def end_effector(names: tuple[str, ...], tree: KinematicTree, gripper: np.ndarray) -> str:
    """A link named like a tool frame, else the gripper's first, else the end of the longest chain."""
    for i in range(len(names) - 1, -1, -1):
        if TOOL.search(names[i]):
            return names[i]
    if gripper.any() and not gripper[0]:
        return names[int(np.argmax(gripper))]
    moving, links = np.zeros(len(names), int), np.zeros(len(names), int)
    for i in range(1, len(names)):
        moving[i] = moving[tree.parent[i]] + (tree.kind[i] != 0)
        links[i] = links[tree.parent[i]] + 1
    return names[int(np.lexsort((links, moving))[-1])]
