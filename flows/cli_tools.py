"""The smaller commands of `urdfit`, and how results are shown in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

robots = typer.Typer(help="Robots that are known by name, and checks of others.", no_args_is_help=True)
evaluate = typer.Typer(help="Compare results with the truth.", no_args_is_help=True)
RobotArg = Annotated[str, typer.Argument(metavar="R", help="A name or a URDF / xacro file.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(robots, name="robots")
    app.add_typer(evaluate, name="evaluate")
    app.command(epilog="Example: urdfit view episode --rerun")(view)
    app.command(epilog="Example: urdfit doctor")(doctor)


@robots.command("list", epilog="Example: urdfit robots list")
def robots_list() -> None:
    """The names that --robot understands."""
    from urdf.catalogue import entries

    table = _table("name", "robot")
    for name, entry in entries().items():
        table.add_row(name, str(entry.get("title", entry.get("description", ""))))
    _print(table)


@robots.command("show", epilog="Example: urdfit robots show panda")
def robots_show(robot: RobotArg) -> None:
    """Joints, limits, gripper and mesh of a robot."""
    import numpy as np

    from flows.evaluation import sliding_joints
    from urdf import load_robot

    loaded = load_robot(robot)
    slides = sliding_joints(loaded)
    table = _table("joint", "part", "lower", "upper", "rest")
    for i, name in enumerate(loaded.joint_names):
        factor, unit = (1000.0, " mm") if slides[i] else (float(np.rad2deg(1.0)), "°")
        limits = ("endless", "") if loaded.continuous[i] else tuple(_number(v * factor, unit) for v in _ends(loaded, i))
        part = "gripper" if i in set(loaded.gripper_joints.tolist()) else "arm"
        table.add_row(name, part, *limits, _number(loaded.rest[i] * factor, unit))
    _print(table)
    typer.echo(f"name: {loaded.name}; base: {loaded.base_link}; end effector: {loaded.ee_link}")
    typer.echo(f"links: {len(loaded.link_names)}; render mesh: {len(loaded.mesh.faces)} triangles")
    if loaded.gripper is None:
        typer.echo("gripper: none known")
    else:
        joint = loaded.joint_names[loaded.gripper.joint]
        typer.echo(f"gripper: {joint}, opens {1000 * loaded.gripper.max_opening:.0f} mm")


def _ends(robot: Any, i: int) -> tuple[float, float]:
    return float(robot.lower[i]), float(robot.upper[i])


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}{unit}"


@robots.command("check", epilog="Example: urdfit robots check my_robot.urdf")
def robots_check(robot: RobotArg) -> None:
    """Load a robot and test what later stages rely on; exit code 1 when something is wrong."""
    from flows.robot_check import check_robot

    findings = check_robot(robot)
    for ok, text in findings:
        typer.echo(f"{'ok  ' if ok else 'FAIL'} {text}")
    if not all(ok for ok, _ in findings):
        raise typer.Exit(1)


@evaluate.command("masks", epilog="Example: urdfit evaluate masks episode/masks truth_masks")
def evaluate_masks_command(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="Folder of masks.")],
    truth: Annotated[Path, typer.Argument(metavar="GT", help="Folder of true masks.")],
) -> None:
    """Region overlap J and boundary F of masks, averaged over the frames."""
    from flows.evaluation import evaluate_masks
    from flows.progress import progress_bars

    with progress_bars():
        scores = evaluate_masks(predicted, truth)
    table = _table("part", "J", "F", "J&F")
    for part, values in scores.items():
        table.add_row(part, *(f"{values[name]:.3f}" for name in ("J", "F", "J&F")))
    _print(table)


@evaluate.command("pose", epilog="Example: urdfit evaluate pose episode truth.json")
def evaluate_pose_command(
    episode: Annotated[Path, typer.Argument(metavar="EPISODE", help="Episode folder.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="truth.json.")],
) -> None:
    """Errors of joints, camera, gripper and end effector."""
    from flows.demo import pose_rows
    from flows.episode import load_episode
    from flows.evaluation import evaluate_pose, load_truth

    table = _table("quantity", "value")
    for row in pose_rows(evaluate_pose(load_episode(episode), *load_truth(truth))):
        table.add_row(*row)
    _print(table)


def view(
    episode: Annotated[Path, typer.Argument(metavar="EPISODE", help="Episode folder.")],
    rerun: Annotated[bool, typer.Option("--rerun", help="Open the recording in Rerun's viewer.")] = False,
    path_only: Annotated[bool, typer.Option("--print", help="Print the file's path instead of opening it.")] = False,
) -> None:
    """Open an episode's report in the browser, or its recording in Rerun."""
    import shutil
    import subprocess
    import sys
    import webbrowser

    from flows.errors import FlowError

    file = episode / ("scene.rrd" if rerun else "report.html")
    if not file.is_file():
        raise FlowError(f"{file}: no such file; make it with `urdfit run`")
    typer.echo(str(file.absolute()))
    if path_only:
        return
    if not rerun:
        webbrowser.open(file.absolute().as_uri())
        return
    viewer = Path(sys.executable).with_name("rerun")
    command = str(viewer) if viewer.exists() else shutil.which("rerun")
    if command is None:
        raise FlowError("Rerun's viewer is not installed: pip install rerun-sdk")
    raise typer.Exit(subprocess.call([command, str(file)]))


def doctor() -> None:
    """What is installed, what optional parts are missing, and what that costs."""
    from flows.doctor import examine

    findings = examine()
    table = _table("", "part", "found", "without it")
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "missing": "[red]!![/]"}
    for finding in findings:
        table.add_row(marks[finding.state], finding.part, finding.found, "" if finding.state == "ok" else finding.cost)
    _print(table)
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)


def show_episode(folder: Path) -> None:
    """A short summary of an episode on stdout."""
    from flows.episode import load_episode

    episode = load_episode(folder)
    quality = episode.quality
    typer.echo(f"episode: {folder}")
    typer.echo(
        f"frames: {quality['frames']}, with a robot {quality['valid_fraction']:.0%}; "
        f"mean IoU {quality['mean_iou']:.3f}, lowest {quality['lowest_iou']:.3f}; "
        f"solved for {', '.join(episode.solved) or 'nothing'}"
    )
    typer.echo("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in episode.seconds.items()))
    for warning in episode.warnings:
        typer.echo(f"warning: {warning}")


def show_demo(result: dict[str, Any]) -> None:
    """The demo's table of errors and times."""
    from flows.demo import pose_rows

    table = _table("against the truth", "")
    for part, values in result["masks"].items():
        table.add_row(f"mask IoU, {part}", f"{values['J']:.3f}  (boundary F {values['F']:.3f})")
    table.add_row("fitted robot on its mask, IoU", f"{result['iou']:.3f}")
    for row in pose_rows(result["pose"]):
        table.add_row(*row)
    table.add_section()
    for stage, seconds in result["seconds"].items():
        table.add_row(f"seconds, {stage}", f"{seconds:.1f}")
    _print(table)
    for warning in result["warnings"]:
        typer.echo(f"warning: {warning}")
    typer.echo(f"report: {result['episode'] / 'report.html'}")


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    import shutil

    from rich.console import Console

    console = Console()
    # a pipe has no width of its own: do not fold there
    Console(width=None if console.is_terminal else max(120, shutil.get_terminal_size((120, 40)).columns)).print(table)
