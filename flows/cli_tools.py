"""The smaller commands of `urdfit`, and how results are shown in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from flows.cli_batch import batch
from flows.cli_dataset import dataset
from flows.cli_evaluate import evaluate
from flows.cli_export import export
from flows.cli_robots import robots
from flows.cli_view import view
from flows.terminal import print_table, table

RANKED = 4  # robots shown of a ranking


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(robots, name="robots")
    app.add_typer(evaluate, name="evaluate")
    app.command(epilog="Example: urdfit batch clips --robot panda --workers 2 --out batch")(batch)
    app.command(epilog="Example: urdfit dataset gs://bucket/droid_raw/lab --limit 5")(dataset)
    app.command(epilog="Example: urdfit export episodes/* --task 'pick up the cube' --out dataset")(export)
    app.command(epilog="Example: urdfit view episode")(view)
    app.command(epilog="Example: urdfit doctor")(doctor)


def doctor() -> None:
    """What is installed, what optional parts are missing, and what that costs."""
    from rich.markup import escape

    from flows.doctor import examine

    findings = examine()
    rows = table("", "part", "found", "without it")
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "missing": "[red]!![/]"}
    for finding in findings:
        cost = "" if finding.state == "ok" else escape(finding.cost)  # 'urdfit[dask]' is no markup
        rows.add_row(marks[finding.state], finding.part, escape(finding.found), cost)
    print_table(rows)
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
    if episode.identification:
        ranking = ", ".join(
            f"{c['name']} {c['probability']:.0%} (IoU {c['iou']:.3f})"
            for c in episode.identification["candidates"][:RANKED]
        )
        typer.echo(f"robot: {episode.robot}, found out of {ranking}, ...")
    for warning in episode.warnings:
        typer.echo(f"warning: {warning}")


def show_demo(result: dict[str, Any]) -> None:
    """The demo's table of errors and times."""
    from flows.demo import pose_rows

    rows = table("against the truth", "")
    for part, values in result["masks"].items():
        rows.add_row(f"mask IoU, {part}", f"{values['J']:.3f}  (boundary F {values['F']:.3f})")
    rows.add_row("fitted robot on its mask, IoU", f"{result['iou']:.3f}")
    for row in pose_rows(result["pose"]):
        rows.add_row(*row)
    rows.add_section()
    for stage, seconds in result["seconds"].items():
        rows.add_row(f"seconds, {stage}", f"{seconds:.1f}")
    print_table(rows)
    for warning in result["warnings"]:
        typer.echo(f"warning: {warning}")
    typer.echo(f"report: {result['episode'] / 'report.html'}")
