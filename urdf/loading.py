"""`load_robot`: a catalogue name, a description file or a composed description to a Robot."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from urdf import catalogue, parts, sources
from urdf.description import MAX_BYTES, Description, Joint, parse_description, parse_xml, show
from urdf.errors import RobotError
from urdf.gripper import infer_gripper, measure_gripper
from urdf.meshes import MeshBuilder
from urdf.paths import Finder
from urdf.robot import Robot
from urdf.tree import build_tree, check, independent, to_urdf
from urdf.xacro_files import expand

Find = Callable[[str, str], Path | None]
Mounts = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def load_robot(
    spec: str | Path | Description,
    *,
    mesh_faces: int | None = None,
    packages: Mapping[str, str | Path] | None = None,
    arguments: Mapping[str, str] | None = None,
    mounts: Mounts | None = None,
) -> Robot:
    """A robot ready for use; its meshes are resolved, decimated and cached.

    Args:
        spec: a name of the catalogue (see `list_robots`), the path of a URDF, xacro or MJCF file or of a TOML file
            with a catalogue entry of your own, or a description put together with `urdf.compose`.
        mesh_faces: triangles of the render mesh, about; 3000 unless the catalogue says more.
        packages, arguments, mounts: as in `read_description`.

    Raises:
        RobotError: an unknown name, a description that is broken or no tree, a mesh that is absent or empty.
    """
    if isinstance(spec, Description):
        if packages or arguments or mounts:
            raise RobotError("packages, arguments and mounts go to read_description, not to a description already read")
        description, source, name = spec, spec.name, spec.name
    else:
        description = read_description(spec, packages=packages, arguments=arguments, mounts=mounts)
        source = str(spec)
        name = source if source in catalogue.entries() else description.name
    return _assemble(check(description, source), name, source, mesh_faces)


def read_description(
    spec: str | Path,
    *,
    packages: Mapping[str, str | Path] | None = None,
    arguments: Mapping[str, str] | None = None,
    mounts: Mounts | None = None,
    find: Callable[[Finder], Find] | None = None,
) -> Description:
    """Links, joints, visuals and labels of a robot, to be changed by `urdf.compose` or given to `load_robot`.

    Args:
        spec: a catalogue name or a path, as for `load_robot`.
        packages: ROS package name to folder, for package:// names; the folders above are searched anyway.
        arguments: xacro arguments.
        mounts: name of an attachment in the catalogue's entry to its (xyz, rpy), metres and radians.
        find: makes the function that resolves mesh names, `Finder.find` unless given.

    Raises:
        RobotError: an unknown name, a description that is broken or no tree, a mesh that is absent.
    """
    text = str(spec)
    known = catalogue.entries()
    given = {name: Path(folder) for name, folder in (packages or {}).items()}
    trusted = isinstance(spec, str) and text in known
    if trusted:
        entry, source = known[text], f"robot {text!r}"
        folder = sources.folder(entry["source"])
        path = folder / entry["file"]
    else:
        entry, source = {}, text
        path = Path(os.path.expanduser(text))
        if not os.path.isfile(path):  # unlike Path.is_file, False for names no file system takes
            raise RobotError(_unknown(text, path))
        path = folder = path.absolute()
        if path.suffix == ".toml":
            entry = catalogue.read_entry(path)
            folder = sources.folder(entry["source"]) if "source" in entry else path.parent
            path = folder / entry["file"]
            if not path.is_file():
                raise RobotError(f"{source}: its file {entry['file']!r} does not exist in {folder}")
    inside = {name: folder / place for name, place in entry.get("packages", {}).items()}
    finder = Finder(path.parent, {**inside, **given})
    resolve = _renaming((find or _finding)(finder), entry.get("meshes", {}))
    values = {**entry.get("arguments", {}), **(arguments or {})}
    description = check(_read(path, finder, resolve, values, source, trusted), source)
    if not entry:
        return description
    description = replace(description, name=text if text in known else Path(text).stem)
    read = partial(read_description, packages=packages, find=find)
    description = check(catalogue.complete(description, entry, read, mounts or {}), source)
    joints = tuple(j.name for j in independent(description))
    catalogue.check_labels(description.labels, description.links, joints, source)
    return description


def _finding(finder: Finder) -> Find:
    return finder.find


def _renaming(find: Find, names: Mapping[str, str]) -> Find:
    """Finds a mesh under the name that an entry puts in place of the description's."""
    return lambda filename, link: find(names.get(filename, filename), link)


def _unknown(text: str, path: Path) -> str:
    names = catalogue.list_robots()
    if os.path.isdir(path):
        return f"{show(text)} is a folder; give the URDF, xacro or MJCF file inside it"
    if "/" in text or path.suffix:
        return f"{show(text)}: no such robot description file"
    close = difflib.get_close_matches(text.lower(), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    known = ", ".join(names)
    return f"unknown robot {show(text)}{hint}; known are {known}, or give the path of a URDF, xacro or MJCF file"


def _read(
    path: Path, finder: Finder, find: Find, arguments: Mapping[str, str], source: str, trusted: bool
) -> Description:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RobotError(f"{source}: cannot be read ({error.strerror})") from None
    root = parse_xml(data, source)  # refuses hostile text before xacro sees it
    if root.tag == "mujoco":
        from urdf.mjcf import read_mjcf

        return read_mjcf(path, source)
    if b"xacro:" in data or path.suffix == ".xacro":  # some xacro files end in .urdf
        data = expand(path, finder, arguments, source, trusted=trusted)
    return parse_description(data, source, find)


def _assemble(description: Description, name: str, source: str, mesh_faces: int | None) -> Robot:
    names, tree = build_tree(description)
    joints = independent(description)
    columns = {j.name: i for i, j in enumerate(joints)}
    labels = description.labels
    is_gripper = parts.gripper_mask(description, names, tree)
    gripper_joints = parts.gripper_columns(description, names, tree, is_gripper)
    builder = MeshBuilder(description.visuals, names, is_gripper, source)
    mesh = builder(labels.mesh_faces if mesh_faces is None else mesh_faces)
    lower, upper = np.array([j.lower for j in joints]), np.array([j.upper for j in joints])
    rest = _rest(joints, lower, upper, labels.rest)
    if labels.grippers:
        measured = [
            measure_gripper(g, names, tree, columns[g.joint], rest, lower, upper, source) for g in labels.grippers
        ]
    else:
        guess = infer_gripper(tree, mesh, gripper_joints, rest, lower, upper)
        measured = [] if guess is None else [guess]
    return Robot(
        name=name,
        source=source,
        joint_names=tuple(columns),
        lower=lower,
        upper=upper,
        continuous=np.array([j.kind == "continuous" for j in joints], bool),
        velocity=np.array([j.velocity for j in joints], float),
        rest=rest,
        link_names=names,
        link_parts=tuple("gripper" if g else "arm" for g in is_gripper),
        ee_link=labels.end_effector or parts.end_effector(names, tree, is_gripper),
        tree=tree,
        grippers=tuple(measured),
        urdf_xml=to_urdf(description),
        arm_joints=np.setdiff1d(np.arange(len(joints)), gripper_joints),
        gripper_joints=gripper_joints,
        base_links=labels.base_links,
        symmetric=labels.symmetric,
        unobservable=labels.unobservable,
        licence=labels.licence,
        notes=labels.notes,
        mesh=mesh,
        _build_mesh=builder,
    )


def _rest(joints: tuple[Joint, ...], lower: np.ndarray, upper: np.ndarray, known: Mapping[str, float]) -> np.ndarray:
    middle = np.where((lower <= 0) & (upper >= 0), 0.0, (lower + upper) / 2)
    given = [known.get(j.name, m) for j, m in zip(joints, middle)]
    return np.clip(np.array(given, float), lower, upper)
