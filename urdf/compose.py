"""Robots put together from descriptions: a gripper on a flange, two arms on a base, parts left out or held still.

arm, hand = read_description("ur5e"), read_description("robotiq_2f85")
robot = load_robot(attach(arm, hand, parent="tool0", rpy=(0, 0, 1.57)))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from urdf.description import Description, Joint, show, transform
from urdf.errors import RobotError
from urdf.labels import Labels
from urdf.parts import guess_gripper_links
from urdf.tree import children

ZERO = (0.0, 0.0, 0.0)


def attach(
    base: Description,
    part: Description,
    *,
    parent: str,
    xyz: Sequence[float] = ZERO,
    rpy: Sequence[float] = ZERO,
    prefix: str = "",
) -> Description:
    """The base with the part's root link fixed to one of its links.

    Args:
        base, part: what `read_description` returns.
        parent: the link of the base that carries the part.
        xyz, rpy: metres, radians: T_parent_part as in a URDF <origin>.
        prefix: put before all names of the part, so that two of a kind do not collide.

    Raises:
        RobotError: no such parent, or a name that both have.
    """
    _known(base, [parent], "link")
    moved = renamed(part, prefix)
    clash = set(base.links) & set(moved.links) | {j.name for j in base.joints} & {j.name for j in moved.joints}
    if clash:
        hint = "give the part a prefix"
        raise RobotError(f"{part.name} and {base.name} both have {show(min(clash))}; {hint}")
    root = roots(moved)[0]
    mount = Joint(f"{root}_mount", "fixed", parent, root, _triple(xyz), _triple(rpy), (1.0, 0.0, 0.0))
    return replace(
        base,
        links=base.links + moved.links,
        joints=(*base.joints, mount, *moved.joints),
        visuals=base.visuals + moved.visuals,
        labels=_merged(base, moved),
    )


def _merged(base: Description, part: Description) -> Labels:
    """Facts of both; what acts on the world is the part, unless the base has a gripper already."""
    own, new = base.labels, part.labels
    hands = [guess_gripper_links(d) if d.labels.gripper_links is None else d.labels.gripper_links for d in (base, part)]
    has_hand = bool(own.grippers or hands[0])
    ends = (own.end_effector, new.end_effector) if has_hand else (new.end_effector, own.end_effector)
    return Labels(
        gripper_links=(*hands[0], *hands[1]),
        base_links=own.base_links + new.base_links,
        end_effector=ends[0] or ends[1],
        grippers=own.grippers + new.grippers,
        rest={**own.rest, **new.rest},
        symmetric=own.symmetric + new.symmetric,
        unobservable=own.unobservable + new.unobservable,
        mesh_faces=max(own.mesh_faces, new.mesh_faces),
        licence="; ".join(dict.fromkeys(text for text in (own.licence, new.licence) if text)),
        notes=" ".join(dict.fromkeys(text for text in (own.notes, new.notes) if text)),
    )


def renamed(description: Description, prefix: str) -> Description:
    """The description with prefix before every link and joint name."""
    if not prefix:
        return description
    joints = [
        replace(
            j,
            name=prefix + j.name,
            parent=prefix + j.parent,
            child=prefix + j.child,
            mimic=j.mimic and (prefix + j.mimic[0], j.mimic[1], j.mimic[2]),
        )
        for j in description.joints
    ]
    return replace(
        description,
        links=tuple(prefix + name for name in description.links),
        joints=tuple(joints),
        visuals=tuple(replace(v, link=prefix + v.link) for v in description.visuals),
        labels=description.labels.prefixed(prefix),
    )


def without(description: Description, links: Iterable[str]) -> Description:
    """The description less these links and all that hangs on them: a gripper, a cable, a stand.

    Raises:
        RobotError: no such link, or nothing is left.
    """
    gone = set(_known(description, links, "link"))
    below = children(description)
    stack = list(gone)
    while stack:
        for joint in below.get(stack.pop(), []):
            gone.add(joint.child)
            stack.append(joint.child)
    kept = tuple(name for name in description.links if name not in gone)
    if not kept:
        raise RobotError(f"{description.name}: without {show(next(iter(gone)))} no link is left")
    return _cut(description, kept)


def subtree(description: Description, link: str) -> Description:
    """The description of a link and all below it; the link becomes the root.

    Raises:
        RobotError: no such link.
    """
    _known(description, [link], "link")
    below, kept, stack = children(description), {link}, [link]
    while stack:
        for joint in below.get(stack.pop(), []):
            kept.add(joint.child)
            stack.append(joint.child)
    return _cut(description, tuple(name for name in description.links if name in kept))


def _cut(description: Description, kept: tuple[str, ...]) -> Description:
    """Only these links, their joints, visuals and facts; a joint that mimics a lost one goes on alone."""
    links = set(kept)
    joints = [j for j in description.joints if j.parent in links and j.child in links]
    names = {j.name for j in joints}
    joints = [j if j.mimic is None or j.mimic[0] in names else replace(j, mimic=None) for j in joints]
    known = description.labels
    hand = known.gripper_links
    labels = replace(
        known,
        gripper_links=None if hand is None else tuple(n for n in hand if n in links),
        base_links=tuple(n for n in known.base_links if n in links),
        end_effector=known.end_effector if known.end_effector in links else "",
        grippers=tuple(g for g in known.grippers if g.joint in names and all(p.link in links for p in g.pads)),
        rest={name: value for name, value in known.rest.items() if name in names},
        symmetric=tuple(pair for pair in known.symmetric if pair[0] in names),
        unobservable=tuple(name for name in known.unobservable if name in names),
    )
    visuals = tuple(v for v in description.visuals if v.link in links)
    return replace(description, links=kept, joints=tuple(joints), visuals=visuals, labels=labels)


def bare(description: Description, links: Iterable[str]) -> Description:
    """The description with these links kept but nothing of them drawn.

    Raises:
        RobotError: no such link.
    """
    names = set(_known(description, links, "link"))
    return replace(description, visuals=tuple(v for v in description.visuals if v.link not in names))


def held(description: Description, values: Mapping[str, float]) -> Description:
    """The description with these joints, and those that mimic them, fixed at a value (radians or metres).

    Raises:
        RobotError: no such joint.
    """
    _known(description, values, "joint")
    joints = []
    for joint in description.joints:
        value = values.get(joint.name)
        if value is None and joint.mimic is not None and joint.mimic[0] in values:
            value = joint.mimic[1] * values[joint.mimic[0]] + joint.mimic[2]
        if value is None or joint.kind == "fixed":
            joints.append(joint)
            continue
        T, motion = transform(joint.xyz, joint.rpy), np.eye(4)
        if joint.kind == "prismatic":
            motion[:3, 3] = np.multiply(joint.axis, value)
        else:
            motion[:3, :3] = Rotation.from_rotvec(np.multiply(joint.axis, value)).as_matrix()
        T = T @ motion
        rpy = Rotation.from_matrix(T[:3, :3]).as_euler("xyz")
        joints.append(
            Joint(joint.name, "fixed", joint.parent, joint.child, _triple(T[:3, 3]), _triple(rpy), joint.axis)
        )
    names = {j.name for j in joints if j.kind != "fixed"}
    known = description.labels
    labels = replace(
        known,
        grippers=tuple(g for g in known.grippers if g.joint in names),
        rest={name: value for name, value in known.rest.items() if name in names},
        symmetric=tuple(pair for pair in known.symmetric if pair[0] in names),
        unobservable=tuple(name for name in known.unobservable if name in names),
    )
    return replace(description, joints=tuple(joints), labels=labels)


def limited(description: Description, limits: Mapping[str, Sequence[float]]) -> Description:
    """The description with other limits: joint to (lower, upper), radians or metres.

    Raises:
        RobotError: no such joint, or no range.
    """
    _known(description, limits, "joint")
    for name, (lower, upper) in limits.items():
        if not lower <= upper:
            raise RobotError(f"{description.name}: limits {lower:g} to {upper:g} of joint {show(name)} are no range")
    ends = {name: (float(lower), float(upper)) for name, (lower, upper) in limits.items()}
    joints = tuple(
        replace(j, lower=ends[j.name][0], upper=ends[j.name][1]) if j.name in ends else j for j in description.joints
    )
    return replace(description, joints=joints)


def coupled(description: Description, joint: str, of: str, multiplier: float, offset: float = 0.0) -> Description:
    """The description with a joint that follows another: value = multiplier * other + offset.

    Raises:
        RobotError: no such joint.
    """
    _known(description, [joint, of], "joint")
    mimic = (of, float(multiplier), float(offset))
    joints = tuple(replace(j, mimic=mimic) if j.name == joint else j for j in description.joints)
    return replace(description, joints=joints)


def with_tool(
    description: Description, *, parent: str, name: str, xyz: Sequence[float], rpy: Sequence[float]
) -> Description:
    """The description with a tool frame: a link without geometry, fixed to a link at T_parent_tool.

    Raises:
        RobotError: no such parent, or the name is taken.
    """
    tool = Description(name, (name,), (), (), Labels(gripper_links=(), end_effector=name))
    return attach(description, tool, parent=parent, xyz=xyz, rpy=rpy)


def roots(description: Description) -> list[str]:
    """Links without a parent."""
    hanging = {j.child for j in description.joints}
    return [name for name in description.links if name not in hanging]


def _known(description: Description, names: Iterable[str], kind: str) -> tuple[str, ...]:
    names = tuple(names)
    have = description.links if kind == "link" else tuple(j.name for j in description.joints)
    for name in names:
        if name not in have:
            some = ", ".join(have[:12]) + (", ..." if len(have) > 12 else "")
            raise RobotError(f"{description.name} has no {kind} {show(name)}; it has {some}")
    return names


def _triple(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
