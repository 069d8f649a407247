"""Checks of a robot description that tell whether the later stages can rely on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flows.robot_findings import CHECKS, Finding, counted
from urdf import Robot, load_robot
from urdf.description import TURNS, Description, parse_xml
from urdf.errors import RobotError
from urdf.loading import read_description
from urdf.paths import Finder


@dataclass(frozen=True)
class RobotCheck:
    """What `check_robot` found; `robot` is None when nothing can be drawn or posed."""

    description: Description
    robot: Robot | None
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Nothing is wrong; warnings may remain."""
        return all(f.state != "FAIL" for f in self.findings)


def check_robot(spec: str | Path) -> RobotCheck:
    """Load a robot, without the meshes that are missing or broken, and examine it.

    Raises:
        RobotError: it cannot be loaded at all.
    """
    description, lost = readable(spec)
    meshes = Finding("FAIL", f"{counted(len(lost), 'mesh', 'meshes')} missing or broken", tuple(lost)) if lost else None
    if not description.visuals:
        nothing = meshes or Finding("FAIL", "no link has visual geometry, so there is nothing to draw or fit")
        return RobotCheck(description, None, (nothing,))
    robot = load_robot(description)
    count = sum(v.path is not None for v in description.visuals)
    shapes = counted(len(description.visuals) - count, "primitive shape")
    found = Finding("ok", f"all meshes found: {count}; {shapes}" if count else shapes)
    findings = [f for check in CHECKS for f in check(description, robot)]
    return RobotCheck(description, robot, (meshes or found, *written_limits(spec), *findings))


def readable(spec: str | Path) -> tuple[Description, list[str]]:
    """A description without the visuals whose mesh is missing or broken, and a line for each of those."""
    lost: dict[str, None] = {}

    def collecting(finder: Finder) -> Callable[[str, str], Path | None]:
        def find(filename: str, link: str) -> Path | None:
            try:
                return finder.find(filename, link)
            except RobotError as error:
                lost[str(error)] = None
                return None

        return find

    description = read_description(spec, find=collecting)
    if description.visuals:
        try:
            load_robot(description)
        except RobotError:
            broken = _broken(description)
            if not broken:
                raise
            lost.update(dict.fromkeys(broken.values()))
            kept = tuple(v for v in description.visuals if v.path not in broken)
            description = replace(description, visuals=kept)
    return description, list(lost)


def _broken(description: Description) -> dict[Path | None, str]:
    from urdf.meshfiles import load_mesh

    broken: dict[Path | None, str] = {}
    for visual in description.visuals:
        if visual.path is not None and visual.path not in broken:
            try:
                load_mesh(visual.path, f"link {visual.link!r}")
            except RobotError as error:
                broken[visual.path] = str(error)
    return broken


def written_limits(spec: str | Path) -> list[Finding]:
    """Limits of a plain URDF file that no radians can be; loading takes such joints as endless."""
    path = Path(spec)
    if path.suffix != ".urdf" or not path.is_file() or b"xacro:" in (data := path.read_bytes()):
        return []
    odd = []
    for joint in parse_xml(data, str(spec)).iterfind("joint[@type='revolute']"):
        limit = joint.find("limit")
        ends = ("lower", "upper") if limit is not None else ()
        given = {end: limit.get(end) for end in ends if limit is not None and limit.get(end) is not None}
        if not given:
            odd.append(f"{joint.get('name')}: no limits, taken as endless")
        elif float(given.get("upper", 0)) - float(given.get("lower", 0)) > TURNS:
            text = " .. ".join(given.values())
            odd.append(f"{joint.get('name')}: {text}, taken as endless; degrees? a URDF has radians")
    return [Finding("warn", f"unusable limits of {counted(len(odd), 'joint')}", tuple(odd))] if odd else []
