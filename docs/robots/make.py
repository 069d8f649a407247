"""The pictures and the table of this folder: python docs/robots/make.py [NAME...] draws these robots, else all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flows.cli_robots import licence_of
from urdf import RobotError, catalogue, list_robots, load_robot, sources

HERE = Path(__file__).parent
HEAD = """# The robots known by name

Made by `python docs/robots/make.py`. Each picture is what `urdfit robots check NAME --sheet NAME.png` draws: the robot
at rest, in random poses, and its gripper. Axes of the base and of the tool: x red, y green, z blue. The black line
joins the finger pads; its length is the opening.

| robot | joints (arm + gripper) | source | licence |
|---|---|---|---|
"""


def main(names: list[str]) -> None:
    """Draw these robots, or all, and write README.md."""
    for name in names or list_robots():
        command = [sys.executable, "-m", "flows.cli", "robots", "check", name, "--sheet", str(HERE / f"{name}.png")]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            print(f"{name}: see `urdfit robots check {name}`", file=sys.stderr)
    rows, pictures = [], []
    for name in list_robots():
        title = catalogue.entries()[name]["title"]
        drawn = (HERE / f"{name}.png").is_file()
        rows.append(" | ".join([f"| [{name}](#{name})", joints(name), origin(name), f"{licence_of(name)} |"]))
        picture = f"![{name}]({name}.png)" if drawn else "Not drawn: its files could not be fetched when this was made."
        pictures.append(f"\n## {name}\n\n{title}\n\n{picture}\n")
    (HERE / "README.md").write_text(HEAD + "\n".join(rows) + "\n" + "".join(pictures), encoding="utf-8")


def joints(name: str) -> str:
    """Numbers of joints, "?" where the files cannot be had."""
    try:
        robot = load_robot(name)
    except RobotError:
        return "?"
    return f"{len(robot.arm_joints)} + {len(robot.gripper_joints)}"


def origin(name: str) -> str:
    """The sources with their versions."""
    return ", ".join(f"{s} {sources.entries()[s]['version']}" for s in catalogue.sources_of(name))


if __name__ == "__main__":
    main(sys.argv[1:])
