"""The robots known by name, read from catalogue.toml beside this file, and a user's own entries in TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from urdf import sources
from urdf.compose import attach, bare, coupled, held, limited, subtree, with_tool, without
from urdf.description import Description, show
from urdf.errors import RobotError
from urdf.labels import GripperLabel, Labels, Pad

KEYS = frozenset(
    "title extends part source file packages arguments meshes root drop hide hold limits couplings attach "
    "gripper_links base_links end_effector grippers mesh_faces rest symmetric unobservable licence notes".split()
)
MERGED = ("packages", "arguments", "meshes", "hold", "limits")  # tables that an extending entry adds to


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Name to entry; the keys of an entry are explained at the head of catalogue.toml."""
    raw = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
    return {name: checked(entry, f"robot {name!r}", raw) for name, entry in raw.items()}


def list_robots() -> tuple[str, ...]:
    """The robots that `load_robot` knows by name, in the catalogue's order; parts such as a gripper are left out."""
    return tuple(name for name, entry in entries().items() if not entry.get("part"))


def sources_of(name: str) -> tuple[str, ...]:
    """The sources (see `urdf.sources`) that a catalogue robot needs, its attached parts' included."""
    entry = entries()[name]
    own = (entry["source"],) if "source" in entry else ()
    return tuple(dict.fromkeys([*own, *(s for part in entry.get("attach", []) for s in sources_of(part["robot"]))]))


def read_entry(path: Path) -> dict[str, Any]:
    """A user's own entry: a TOML file with the keys of one catalogue entry at its top; `file` is relative to it.

    Raises:
        RobotError: not TOML, an unknown key or an unknown robot to extend.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RobotError(f"{path}: not readable as TOML ({str(error)[:150]})") from None
    return checked(raw, str(path), entries())


def checked(entry: Any, where: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with what it extends filled in.

    Raises:
        RobotError: unknown keys, nothing to load, or an unknown robot to extend or attach.
    """
    if not isinstance(entry, dict):
        raise RobotError(f"{where}: expected a table of keys")
    unknown = sorted(set(entry) - KEYS)
    if unknown:
        raise RobotError(f"{where}: unknown key {show(unknown[0])}; known are {', '.join(sorted(KEYS))}")
    if "extends" in entry:
        if entry["extends"] not in others:
            raise RobotError(f"{where}: it extends {show(entry['extends'])}, which is not in the catalogue")
        under = checked(others[entry["extends"]], f"robot {entry['extends']!r}", others)
        over = {key: value for key, value in entry.items() if key != "extends"}
        merged = {key: {**under.get(key, {}), **over[key]} for key in MERGED if key in over}
        entry = {**under, **over, **merged}
    for part in entry.get("attach", []):
        robot = part.get("robot", "nothing")
        if robot not in others:
            raise RobotError(f"{where}: it attaches {show(robot)}, which is not in the catalogue")
    if "file" not in entry:
        raise RobotError(f"{where}: it has neither `file` nor `extends`, so there is nothing to load")
    return entry


def complete(
    description: Description,
    entry: Mapping[str, Any],
    read: Callable[[str], Description],
    mounts: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Description:
    """The description changed and labelled as its entry says.

    Args:
        description: as read from the entry's file.
        entry: a checked entry.
        read: name of a catalogue robot to its description.
        mounts: name of an attachment to (xyz, rpy) that replaces the entry's.

    Raises:
        RobotError: the entry names a link or joint that the description lacks, or lacks a key of its own.
    """
    known = str(entry.get("licence") or sources.entries().get(entry.get("source", ""), {}).get("licence", ""))
    description = replace(description, labels=replace(description.labels, licence=known))
    try:
        if "root" in entry:
            description = subtree(description, entry["root"])
        description = without(description, entry.get("drop", []))
        description = bare(description, entry.get("hide", []))
        description = limited(description, entry.get("limits", {}))
        for coupling in entry.get("couplings", []):
            description = coupled(description, **coupling)
        description = held(description, entry.get("hold", {}))
        parts = {part.get("name", part["robot"]): part for part in entry.get("attach", [])}
        unknown = sorted(set(mounts) - set(parts))
        if unknown:
            some = ", ".join(parts) or "none"
            raise RobotError(f"{description.name} has no attachment {show(unknown[0])}; it has {some}")
        for name, part in parts.items():
            xyz, rpy = mounts.get(name, (part.get("xyz", (0, 0, 0)), part.get("rpy", (0, 0, 0))))
            child = without(read(part["robot"]), part.get("drop", []))
            prefix = part.get("prefix", "")
            description = attach(description, child, parent=part["parent"], xyz=xyz, rpy=rpy, prefix=prefix)
        tool = entry.get("end_effector", {})
        if "name" in tool:
            description = with_tool(description, **tool)
        return _labelled(description, entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise RobotError(f"{description.name}: its entry is incomplete or malformed ({error!r:.120})") from None


def _labelled(description: Description, entry: Mapping[str, Any]) -> Description:
    known = description.labels
    fresh: dict[str, Any] = {}
    for key in ("gripper_links", "base_links", "unobservable"):
        if key in entry:
            fresh[key] = tuple(entry[key])
    if "symmetric" in entry:
        fresh["symmetric"] = tuple((joint, float(angle)) for joint, angle in entry["symmetric"].items())
    if "grippers" in entry:
        fresh["grippers"] = tuple(_gripper(g) for g in entry["grippers"])
    if "end_effector" in entry:
        tool = entry["end_effector"]
        fresh["end_effector"] = tool["name"] if "name" in tool else tool["link"]
    if "mesh_faces" in entry:
        fresh["mesh_faces"] = int(entry["mesh_faces"])
    if "notes" in entry:
        fresh["notes"] = str(entry["notes"])
    labels = replace(known, rest={**known.rest, **entry.get("rest", {})}, **fresh)
    return replace(description, labels=labels)


def _gripper(entry: Mapping[str, Any]) -> GripperLabel:
    pads = []
    for pad in entry["pads"]:
        x, y, z = (float(v) for v in pad.get("xyz", (0, 0, 0)))
        pads.append(Pad(pad["link"], (x, y, z)))
    first, second = pads
    return GripperLabel(entry["joint"], (first, second))


def check_labels(labels: Labels, links: tuple[str, ...], joints: tuple[str, ...], source: str) -> None:
    """Every link and joint that the labels name exists.

    Raises:
        RobotError: one does not.
    """
    pads = tuple(pad.link for gripper in labels.grippers for pad in gripper.pads)
    end = (labels.end_effector,) if labels.end_effector else ()
    named = {
        "gripper_links": (labels.gripper_links or (), links),
        "base_links": (labels.base_links, links),
        "end_effector": (end, links),
        "grippers' pads": (pads, links),
        "grippers": (tuple(g.joint for g in labels.grippers), joints),
        "rest": (tuple(labels.rest), joints),
        "symmetric": (tuple(name for name, _ in labels.symmetric), joints),
        "unobservable": (labels.unobservable, joints),
    }
    for key, (names, have) in named.items():
        for name in names:
            if name not in have:
                kind = "link" if have is links else "independent joint"
                some = ", ".join(have[:20]) + (", ..." if len(have) > 20 else "")
                raise RobotError(f"{source}: {key} names {show(name)}, which is no {kind}; there are {some}")
