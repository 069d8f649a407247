"""`load_robot`: a catalogue name or a description file to a Robot."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from urdf import catalogue, parts
from urdf.description import Description, Joint, parse_description, parse_xml, show
from urdf.errors import RobotError
from urdf.gripper import infer_gripper
from urdf.meshes import MeshBuilder
from urdf.paths import Finder
from urdf.robot import Gripper, Robot
from urdf.tree import build_tree, check, independent, to_urdf
from urdf.xacro_files import expand


def load_robot(
    spec: str | Path,
    *,
    mesh_faces: int = 3000,
    packages: Mapping[str, str | Path] | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Robot:
    """A robot ready for use; its meshes are resolved, decimated and cached.

    Args:
        spec: a name of the catalogue (see `list_robots`) or the path of a URDF or xacro file.
        mesh_faces: triangles of the render mesh, about.
        packages: ROS package name to folder, for package:// names; the folders above are searched anyway.
        arguments: xacro arguments.

    Raises:
        RobotError: an unknown name, a description that is broken or no tree, a mesh that is absent or empty.
    """
    known = catalogue.entries()
    text = str(spec)
    if isinstance(spec, str) and text in known:
        entry = known[text]
        folder = catalogue.folder(entry, text)
        path = folder / entry["file"]
        inside = {name: folder / place for name, place in entry.get("packages", {}).items()}
        finder = Finder(path.parent, {**inside, **{k: Path(v) for k, v in (packages or {}).items()}})
        arguments = {**entry.get("arguments", {}), **(arguments or {})}
        source = f"robot {text!r}"
    else:
        entry, path = {}, Path(os.path.expanduser(text))
        if not os.path.isfile(path):  # unlike Path.is_file, False for names no file system takes
            raise RobotError(_unknown(text, path))
        path = path.absolute()
        finder = Finder(path.parent, {k: Path(v) for k, v in (packages or {}).items()})
        arguments, source = arguments or {}, text
    description = check(_complete(_read(path, finder, arguments, source), entry), source)
    return _assemble(description, entry, finder, text, source, mesh_faces)


def _unknown(text: str, path: Path) -> str:
    names = catalogue.list_robots()
    if os.path.isdir(path):
        return f"{show(text)} is a folder; give the URDF or xacro file inside it"
    if "/" in text or path.suffix:
        return f"{show(text)}: no such robot description file"
    close = difflib.get_close_matches(text.lower(), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    known = ", ".join(names)
    return f"unknown robot {show(text)}{hint}; known are {known}, or give the path of a URDF or xacro file"


def _read(path: Path, finder: Finder, arguments: Mapping[str, str], source: str) -> Description:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RobotError(f"{source}: cannot be read ({error.strerror})") from None
    parse_xml(data, source)  # refuses hostile text before xacro sees it
    if b"xacro:" in data or path.suffix == ".xacro":  # some xacro files end in .urdf
        data = expand(path, finder, arguments, source)
    return parse_description(data, source)


def _complete(description: Description, entry: dict[str, Any]) -> Description:
    """The description with the couplings and the tool frame that the catalogue adds."""
    joints = list(description.joints)
    for coupling in entry.get("couplings", []):
        mimic = (coupling["of"], float(coupling["multiplier"]), float(coupling["offset"]))
        joints = [replace(j, mimic=mimic) if j.name == coupling["joint"] else j for j in joints]
    links = description.links
    tool = entry.get("end_effector", {})
    if "name" in tool:
        links = (*links, tool["name"])
        xyz, rpy = tuple(map(float, tool["xyz"])), tuple(map(float, tool["rpy"]))
        joints.append(Joint(f"{tool['name']}_joint", "fixed", tool["parent"], tool["name"], xyz, rpy, (1.0, 0.0, 0.0)))
    return replace(description, links=links, joints=tuple(joints))


def _assemble(
    description: Description, entry: dict[str, Any], finder: Finder, spec: str, source: str, mesh_faces: int
) -> Robot:
    names, tree = build_tree(description)
    joints = independent(description)
    is_gripper = parts.gripper_links(description, names, tree, entry.get("gripper_links"))
    gripper_joints = parts.gripper_columns(description, names, tree, is_gripper)
    files = [finder.find(v.filename, v.link) if v.shape == "mesh" else None for v in description.visuals]
    builder = MeshBuilder(description.visuals, files, names, is_gripper, source)
    mesh = builder(mesh_faces)
    tool = entry.get("end_effector", {})
    lower, upper = np.array([j.lower for j in joints]), np.array([j.upper for j in joints])
    rest = _rest(joints, lower, upper, entry.get("rest", {}))
    if "gripper" in entry:
        known = entry["gripper"]
        column = [j.name for j in joints].index(known["joint"])
        gripper: Gripper | None = Gripper(column, known["scale"], known["offset"], known["max_opening"])
    else:
        gripper = infer_gripper(tree, mesh, gripper_joints, rest, lower, upper)
    return Robot(
        name=spec if entry else description.name,
        source=spec,
        joint_names=tuple(j.name for j in joints),
        lower=lower,
        upper=upper,
        continuous=np.array([j.kind == "continuous" for j in joints], bool),
        velocity=np.array([j.velocity for j in joints], float),
        rest=rest,
        link_names=names,
        link_parts=tuple("gripper" if g else "arm" for g in is_gripper),
        ee_link=tool.get("name") or tool.get("link") or parts.end_effector(names, tree, is_gripper),
        tree=tree,
        gripper=gripper,
        urdf_xml=to_urdf(description),
        arm_joints=np.setdiff1d(np.arange(len(joints)), gripper_joints),
        gripper_joints=gripper_joints,
        mesh=mesh,
        _build_mesh=builder,
    )


def _rest(joints: tuple[Joint, ...], lower: np.ndarray, upper: np.ndarray, known: dict[str, float]) -> np.ndarray:
    middle = np.where((lower <= 0) & (upper >= 0), 0.0, (lower + upper) / 2)
    given = [known.get(j.name, m) for j, m in zip(joints, middle)]
    return np.clip(np.array(given, float), lower, upper)
