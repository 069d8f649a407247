"""Put another gripper on an arm: one URDF file out of two, for training data."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

_RPY = {"x": (0, np.pi / 2, 0), "y": (-np.pi / 2, 0, 0), "z": (0, 0, 0)}


def _read(path: Path) -> ElementTree.Element:
    """The <robot> element with absolute mesh paths; prefixes without a namespace (drake:) are dropped."""
    text = path.read_text(encoding="utf-8").replace("drake:", "drake_")
    root = ElementTree.fromstring(text)
    for mesh in root.iter("mesh"):
        name = mesh.get("filename", "")
        relative = name.split("://", 1)[-1]
        for folder in path.resolve().parents:
            found = [folder / relative, folder / relative.split("/", 1)[-1]]
            hit = next((f for f in found if f.is_file()), None)
            if hit is not None:
                mesh.set("filename", str(hit))
                break
    return root


def _end(joint: ElementTree.Element, end: str) -> str:
    """The link at a joint's `parent` or `child` end, "" for elements that are no joints."""
    node = joint.find(end) if joint.tag == "joint" else None
    return "" if node is None else node.get("link", "")


def _below(root: ElementTree.Element, link: str) -> set[str]:
    found: set[str] = set()
    waiting = [link]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += [_end(e, "child") for e in root if _end(e, "parent") == name]
    return found


def mount(
    arm: Path,
    tool: Path,
    flange: str,
    out: Path,
    *,
    drop: str | None = None,
    axis: str = "z",
    offset: float = 0.0,
) -> Path:
    """Write `out`: the arm without the links from `drop` on, and the tool on the link `flange`.

    axis: the flange's axis along which the tool points; offset: metres along it.
    """
    arm_root, tool_root = _read(arm), _read(tool)
    gone = _below(arm_root, drop) if drop else set()
    for element in list(arm_root):
        named = element.tag == "link" and element.get("name") in gone
        if named or _end(element, "child") in gone or element.tag in ("transmission", "gazebo"):
            arm_root.remove(element)
    links = [e.get("name", "") for e in tool_root if e.tag == "link"]
    children = {_end(e, "child") for e in tool_root}
    base = next(name for name in links if name not in children)
    for element in tool_root:
        if element.tag in ("link", "joint", "material"):
            if element.tag == "link":
                element.set("name", "gripper_" + element.get("name", ""))
            for end in ("parent", "child"):
                node = element.find(end)
                if node is not None:
                    node.set("link", "gripper_" + node.get("link", ""))
            arm_root.append(element)
    joint = ElementTree.SubElement(arm_root, "joint", name="tool_mount", type="fixed")
    ElementTree.SubElement(joint, "parent", link=flange)
    ElementTree.SubElement(joint, "child", link="gripper_" + base)
    rpy, xyz = _RPY[axis], [offset * (a == axis) for a in "xyz"]
    ElementTree.SubElement(joint, "origin", xyz=" ".join(map(str, xyz)), rpy=" ".join(map(str, rpy)))
    out.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(arm_root).write(out, encoding="utf-8")
    return out
