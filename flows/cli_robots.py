"""`urdfit robots`: the robots known by name, their files, and checks of any description."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import print_table, table, wrapped

if TYPE_CHECKING:
    from flows.robot_check import RobotCheck

robots = typer.Typer(help="Robots that are known by name, and checks of others.", no_args_is_help=True)
RobotArg = Annotated[str, typer.Argument(metavar="R", help="A name, or a URDF / xacro / MJCF file.")]


@robots.command("list", epilog="Example: urdfit robots list")
def robots_list() -> None:
    """The names that --robot understands, and whether their files are here."""
    from urdf.catalogue import entries, list_robots

    rows = table("name", "robot", "licence", "files")
    for name in list_robots():
        rows.add_row(name, str(entries()[name].get("title", "")), licence_of(name), _state(name))
    print_table(rows)


@robots.command("show", epilog="Example: urdfit robots show panda")
def robots_show(robot: RobotArg) -> None:
    """Joints, limits, gripper, mesh, licence and source of a robot."""
    from flows.robot_tables import joint_rows
    from urdf import load_robot
    from urdf.loading import read_description

    description = read_description(robot)
    loaded = load_robot(description)
    rows = table("joint", "part", "lower", "upper", "rest", "speed", "")
    for row in joint_rows(description, loaded):
        rows.add_row(*row)
    print_table(rows)
    typer.echo(f"name: {loaded.name}; base: {loaded.base_link}; end effector: {loaded.ee_link}")
    typer.echo(f"links: {len(loaded.link_names)}; render mesh: {len(loaded.mesh.faces)} triangles")
    for gripper in loaded.grippers:
        typer.echo(f"gripper: {loaded.joint_names[gripper.joint]}, opens {1000 * gripper.max_opening:.0f} mm")
    if not loaded.grippers:
        typer.echo("gripper: none known")
    _origin(robot, description)


@robots.command("check", epilog="Example: urdfit robots check my_robot.urdf --sheet my_robot.png")
def robots_check(
    robot: RobotArg,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE.png", help="The picture; default: <name>-sheet.png here."),
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="Draw no picture.")] = False,
) -> None:
    """Load a robot and test what later stages rely on; draw it; exit code 1 when something is wrong."""
    from flows.errors import UsageError
    from flows.robot_check import check_robot

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {sheet}: expected a file that ends in .png")
    check = check_robot(robot)
    _describe(robot, check)
    for finding in check.findings:
        typer.echo(wrapped(finding.text, f"{finding.state:4} ", " " * 5))
        for line in finding.lines:
            typer.echo(wrapped(line, " " * 7, " " * 9))
    if check.robot is not None and not no_sheet:
        typer.echo(f"sheet: {_draw(robot, check, sheet)}")
    if not check.passed:
        raise typer.Exit(1)


@robots.command("fetch", epilog="Example: urdfit robots fetch ur5e")
def robots_fetch(
    robot: Annotated[str | None, typer.Argument(metavar="R", help="A name.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The files of all robots.")] = False,
) -> None:
    """Download the files of a robot now, to have them offline; what is here already is not loaded again."""
    from flows.errors import UsageError
    from urdf import catalogue, sources
    from urdf.errors import RobotError

    if (robot is None) != everything:
        raise UsageError("give the name of a robot or --all")
    names = catalogue.list_robots() if robot is None else (robot,)
    if robot is not None and robot not in catalogue.entries():
        raise RobotError(f"unknown robot {robot!r}; see `urdfit robots list`")
    failed = []
    for source in dict.fromkeys(s for name in names for s in catalogue.sources_of(name)):
        try:
            typer.echo(f"{source}: {sources.folder(source)}")
        except RobotError as error:
            if robot is not None:
                raise
            failed.append(source)
            typer.echo(f"{source}: {error}", err=True)
    if failed:
        raise RobotError(f"{len(failed)} of the sources could not be fetched: {', '.join(failed)}")


def licence_of(name: str) -> str:
    """Of a catalogue robot's description and of the parts attached to it; its source's where it states none."""
    from urdf import catalogue, sources

    entry = catalogue.entries()[name]
    own = str(entry.get("licence") or sources.entries()[entry["source"]]["licence"])
    return "; ".join(dict.fromkeys([own, *(licence_of(part["robot"]) for part in entry.get("attach", []))]))


def _state(name: str) -> str:
    """The least ready of a robot's sources: installed, cached or absent."""
    from urdf import catalogue, sources

    order = ("absent", "cached", "installed")
    states = {sources.state(source) for source in catalogue.sources_of(name)}
    return next((state for state in order if state in states), "installed")


def _origin(spec: str, description: Any) -> None:
    """Licence, sources and notes, a line each."""
    from urdf import catalogue, sources

    known = spec in catalogue.entries()
    licence = licence_of(spec) if known else description.labels.licence
    typer.echo(wrapped(f"licence: {licence or 'not stated'}", rest="  "))
    for source in catalogue.sources_of(spec) if known else ():
        facts = sources.entries()[source]
        typer.echo(wrapped(f"source: {describe_source(source, facts)} ({sources.state(source)})", rest="  "))
    if not known:
        typer.echo(f"source: {spec}")
    if description.labels.notes:
        typer.echo(wrapped(f"notes: {description.labels.notes}", rest="  "))


def describe_source(name: str, facts: Any) -> str:
    """A source in a line: name, version or commit, sha256, licence."""
    sha = facts.get("sha256", "")
    parts = [name, str(facts.get("version") or facts.get("commit") or ""), f"sha256 {sha}" if sha else ""]
    return ", ".join(filter(None, [*parts, str(facts.get("licence", ""))]))


def _describe(spec: str, check: RobotCheck) -> None:
    """The tree and the tables of joints and links."""
    from flows.robot_tables import full_mesh, joint_rows, link_rows, tree_lines

    robot = check.robot
    for line in tree_lines(check.description, robot):
        typer.echo(line)
    if robot is not None:
        joints = table("joint", "part", "lower", "upper", "rest", "speed", "")
        for row in joint_rows(check.description, robot):
            joints.add_row(*row)
        print_table(joints)
        links = table("link", "part", "triangles", "display", "fit", "open edges")
        for row in link_rows(robot, full_mesh(check.description, robot)):
            links.add_row(*row)
        print_table(links)
    _origin(spec, check.description)


def _draw(spec: str, check: RobotCheck, path: Path | None) -> Path:
    from flows.contact_sheet import contact_sheet, write_sheet
    from urdf.catalogue import entries

    assert check.robot is not None
    if path is None:
        path = Path(check.robot.name.replace("/", "_") + "-sheet.png")
    title = str(entries().get(spec, {}).get("title", ""))
    write_sheet(path, contact_sheet(check.robot, title, check.description.labels.grippers))
    return path
