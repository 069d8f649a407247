"""URDF text to checked parts: links, joints, visuals. Hostile or broken text ends in a RobotError.

Only the elements the program uses are read, straight from a hardened XML parser: no entities, no DTD, no
network. Source of the meaning of elements: the URDF XML specification, http://wiki.ros.org/urdf/XML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lxml import etree

from urdf.errors import RobotError
from urdf.labels import Labels

MAX_BYTES = 20_000_000
MAX_LINKS, MAX_VISUALS = 1_000, 5_000
JOINT_TYPES = ("fixed", "revolute", "continuous", "prismatic")
TURNS = 4 * np.pi + 0.1  # a revolute joint that may turn further than this counts as endless
REACH = 10.0  # metres; stands for a prismatic joint without limits
FAR = 1e3  # limits beyond this are none


@dataclass(frozen=True)
class Visual:
    """A piece of a link; `size` is the box's sides, (radius, length), (radius,) or the mesh's scale.

    `path` is the mesh's file, found and checked; None for the other shapes.
    """

    link: str
    shape: str
    size: tuple[float, ...]
    path: Path | None
    T_link_visual: np.ndarray
    color: tuple[float, float, float] | None


@dataclass(frozen=True)
class Joint:
    """A joint with its limits made finite; `mimic` is (joint, multiplier, offset)."""

    name: str
    kind: str
    parent: str
    child: str
    xyz: tuple[float, ...]
    rpy: tuple[float, ...]
    axis: tuple[float, ...]
    lower: float = 0.0
    upper: float = 0.0
    velocity: float = float("inf")
    effort: float = 0.0
    mimic: tuple[str, float, float] | None = None


@dataclass(frozen=True)
class Description:
    """What a description says, in file order, and what is known beyond it."""

    name: str
    links: tuple[str, ...]
    joints: tuple[Joint, ...]
    visuals: tuple[Visual, ...] = ()
    labels: Labels = field(default_factory=Labels)


def show(text: object) -> str:
    """A value quoted for a message: one line, at most 100 characters."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 100 else quoted[:96] + "...'"


def parse_xml(data: bytes, source: str) -> etree._Element:
    """The root element of XML text.

    Raises:
        RobotError: too large, not XML, or carrying a document type (entities could hide anything).
    """
    if len(data) > MAX_BYTES:
        raise RobotError(f"{source}: too much XML; a description may have {MAX_BYTES // 10**6} MB")
    if not data.strip():
        raise RobotError(f"{source}: the file is empty; expected a URDF or xacro description")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        raise RobotError(f"{source}: XML with a document type, entities or zero bytes is not accepted; remove them")
    parser = _parser(recover=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        # undeclared prefixes as in <drake:...> are common and harmless; every other fault is final
        if any(entry.domain_name != "NAMESPACE" for entry in parser.error_log) or not len(parser.error_log):
            raise RobotError(f"{source}: not readable as XML ({str(error).splitlines()[0][:150]})") from None
        root = etree.fromstring(data, _parser(recover=True))
    if root is None or root.getroottree().docinfo.doctype:
        raise RobotError(f"{source}: not readable as XML without a document type")
    return root


def _parser(recover: bool) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=recover,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip


def parse_description(data: bytes, source: str, find: Callable[[str, str], Path | None]) -> Description:
    """Read URDF text.

    Args:
        data: the text.
        source: for messages.
        find: mesh name and link to the mesh's file; None leaves the visual out.

    Raises:
        RobotError: not a URDF, or an element that is missing, double, or holds no finite number.
    """
    root = parse_xml(data, source)
    if root.tag != "robot":
        hint = "; convert SDF to URDF first" if root.tag == "sdf" else ""
        expected = "<robot> of a URDF or <mujoco> of an MJCF"
        raise RobotError(f"{source}: the root element is <{str(root.tag)[:40]}>, expected {expected}{hint}")
    links = tuple(_name(e, "link", source) for e in root.findall("link"))
    if not links:
        raise RobotError(f"{source}: the description has no <link>")
    for what, most in (("link", MAX_LINKS), ("joint", MAX_LINKS), ("link/visual", MAX_VISUALS)):
        if (count := len(root.findall(what))) > most:
            raise RobotError(f"{source}: {count} {what.split('/')[-1]}s; at most {most} are accepted")
    joints = tuple(_joint(e, source) for e in root.findall("joint"))
    for kind, names in (("link", links), ("joint", tuple(j.name for j in joints))):
        double = [name for name, count in Counter(names).items() if count > 1]
        if double:
            raise RobotError(f"{source}: two {kind}s are called {show(min(double))}; names must be unique")
    palette = {e.get("name"): c for e in root.iter("material") if (c := _color(e, source)) is not None}
    visuals = tuple(v for e in root.findall("link") for v in _visuals(e, palette, source, find))
    return Description(root.get("name") or "robot", links, joints, visuals)


def _name(element: etree._Element, kind: str, source: str) -> str:
    name = element.get("name")
    if not name:
        raise RobotError(f"{source}: a <{kind}> in line {element.sourceline} has no name")
    return name


def _numbers(text: str | None, count: int, default: tuple[float, ...], where: str) -> tuple[float, ...]:
    if text is None:
        return default
    try:
        values = tuple(float(v) for v in text.split())
    except ValueError:
        values = ()
    if len(values) != count or not all(np.isfinite(values)) or max(map(abs, values)) > 1e6:
        raise RobotError(f"{where} is {show(text)}; expected {count} finite number{'s' if count > 1 else ''}")
    return values


def _origin(element: etree._Element, where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    origin = element.find("origin")
    zero = (0.0, 0.0, 0.0)
    if origin is None:
        return zero, zero
    return _numbers(origin.get("xyz"), 3, zero, f"{where}: origin xyz"), _numbers(
        origin.get("rpy"), 3, zero, f"{where}: origin rpy"
    )


def transform(xyz: tuple[float, ...], rpy: tuple[float, ...]) -> np.ndarray:
    """(4,4) of an <origin>: turns about the fixed axes x, y, z in this order (URDF specification)."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy), np.cos(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, xyz[0]],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, xyz[1]],
            [-sp, cp * sr, cp * cr, xyz[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def _joint(element: etree._Element, source: str) -> Joint:
    name = _name(element, "joint", source)
    where = f"{source}: joint {show(name)}"
    kind = element.get("type")
    if kind not in JOINT_TYPES:
        raise RobotError(f"{where} has type {show(kind)}; known are {', '.join(JOINT_TYPES)}")
    ends = []
    for end in ("parent", "child"):
        tag = element.find(end)
        if tag is None or not tag.get("link"):
            raise RobotError(f"{where} names no {end} link")
        ends.append(tag.get("link"))
    xyz, rpy = _origin(element, where)
    if kind == "fixed":
        return Joint(name, kind, ends[0], ends[1], xyz, rpy, (1.0, 0.0, 0.0))
    tag = element.find("axis")
    axis = _numbers(tag.get("xyz") if tag is not None else None, 3, (1.0, 0.0, 0.0), f"{where}: axis")
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        raise RobotError(f"{where}: the axis has no length")
    axis = tuple(v / length for v in axis)
    kind, lower, upper = _limits(element.find("limit"), kind, where)
    limit = element.find("limit")
    velocity = _bound(limit, "velocity", float("inf"), where)
    mimic = None
    if (tag := element.find("mimic")) is not None:
        if not tag.get("joint"):
            raise RobotError(f"{where}: <mimic> names no joint")
        multiplier = _numbers(tag.get("multiplier"), 1, (1.0,), f"{where}: mimic multiplier")[0]
        mimic = (
            tag.get("joint"),
            multiplier,
            _numbers(tag.get("offset"), 1, (0.0,), f"{where}: mimic offset")[0],
        )
    effort = _bound(limit, "effort", 0.0, where)
    return Joint(
        name, kind, ends[0], ends[1], xyz, rpy, axis, lower, upper, 
        velocity if velocity > 0 else float("inf"), effort if np.isfinite(effort) else 0.0, mimic,
    )  # fmt: skip


def _bound(limit: etree._Element | None, key: str, default: float, where: str) -> float:
    text = None if limit is None else limit.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if np.isnan(value):
        raise RobotError(f"{where}: limit {key} is {show(text)}; expected a number")
    return value


def _limits(limit: etree._Element | None, kind: str, where: str) -> tuple[str, float, float]:
    """Finite limits, and "continuous" for a revolute joint that has none."""
    if kind == "continuous" or limit is None or (limit.get("lower") is None and limit.get("upper") is None):
        lower, upper = -np.inf, np.inf
    else:
        lower, upper = _bound(limit, "lower", 0.0, where), _bound(limit, "upper", 0.0, where)
    if lower > upper:
        raise RobotError(f"{where}: the lower limit {lower:g} is above the upper limit {upper:g}")
    if kind == "prismatic":
        lower, upper = (float(np.copysign(REACH, v)) if abs(v) > FAR else v for v in (lower, upper))
        return kind, lower, upper
    if np.isinf(lower) or np.isinf(upper) or upper - lower > TURNS:
        return "continuous", -float(np.pi), float(np.pi)
    if max(abs(lower), abs(upper)) > FAR:
        raise RobotError(f"{where}: limits of {lower:g} and {upper:g}; expected radians")
    return "revolute", lower, upper


def _color(material: etree._Element, source: str) -> tuple[float, float, float] | None:
    tag = material.find("color")
    if tag is None or tag.get("rgba") is None:
        return None
    rgba = np.clip(_numbers(tag.get("rgba"), 4, (), f"{source}: material {show(material.get('name'))} rgba"), 0, 1)
    return float(rgba[0]), float(rgba[1]), float(rgba[2])


def _visuals(link: etree._Element, palette: dict, source: str, find: Callable[[str, str], Path | None]) -> list[Visual]:
    visuals = []
    for element in link.findall("visual"):
        where = f"{source}: visual of link {show(link.get('name'))}"
        geometry = element.find("geometry")
        if geometry is None or not len(geometry):
            raise RobotError(f"{where} has no geometry")
        shape = geometry[0]
        path = None
        if shape.tag == "mesh":
            filename = shape.get("filename") or ""
            if not filename:
                raise RobotError(f"{where}: <mesh> names no file")
            text = shape.get("scale")
            if text is not None and len(text.split()) == 1:
                text = f"{text} {text} {text}"
            size = _numbers(text, 3, (1.0, 1.0, 1.0), f"{where}: mesh scale")
            path = find(filename, link.get("name"))
            if path is None:
                continue
        elif shape.tag == "box":
            size = _numbers(shape.get("size"), 3, (), f"{where}: box size")
        elif shape.tag in ("cylinder", "capsule"):
            size = _numbers(shape.get("radius"), 1, (), f"{where}: {shape.tag} radius")
            size += _numbers(shape.get("length"), 1, (), f"{where}: {shape.tag} length")
        elif shape.tag == "sphere":
            size = _numbers(shape.get("radius"), 1, (), f"{where}: sphere radius")
        else:
            raise RobotError(
                f"{where}: unknown geometry <{str(shape.tag)[:40]}>; known are mesh, box, cylinder, sphere"
            )
        if len(size) < (2 if shape.tag in ("cylinder", "capsule") else 1) or (shape.tag != "mesh" and min(size) < 0):
            raise RobotError(f"{where}: the {shape.tag} has no size")
        if 0.0 in size:  # some descriptions hide a link this way
            continue
        material = element.find("material")
        color = None if material is None else _color(material, source) or palette.get(material.get("name"))
        xyz, rpy = _origin(element, where)
        visuals.append(Visual(link.get("name"), str(shape.tag), size, path, transform(xyz, rpy), color))
    return visuals
