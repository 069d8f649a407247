"""`urdfit dataset`: what a data set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.datasets import SourceEpisode


def dataset(
    path: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="A folder, a URL of one (s3://, gs://, hf://), or an episodes.csv."),
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="lerobot, droid, bridge, nerfstudio, vrs, videos or manifest. Default: found out."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Episodes to look at.")] = 20,
) -> None:
    """What a data set holds: its kind, and per episode cameras, joints and task.

    Formats: LeRobot v3.0 and v2.1, DROID raw, BridgeData raw, nerfstudio, VRS and RoboEngine, a folder of videos, and a
    table episodes.csv (columns video, id, task, robot, camera, joints, fps). Videos are not opened or fetched. The exit
    code is 1 if one of the episodes looked at cannot be used.
    """
    from itertools import islice

    from rich.markup import escape

    from flows.datasets import Problem, open_dataset
    from flows.terminal import print_table, table

    found = open_dataset(path, kind)
    count = sum(1 for _ in found.ids())
    rows = table("episode", "cameras", "calibrated", "joints", "task")
    problems, notes = [], dict[str, None]()
    for item in islice(found, limit):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        notes |= dict.fromkeys(item.notes)
        rows.add_row(escape(item.id), *(escape(text) for text in _cells(item)))
    print_table(rows)
    typer.echo(f"{found.kind}: {count} episodes" + (f", the first {limit} shown" if count > limit else ""))
    for note in notes:
        typer.echo(f"note: {note}")
    for problem in problems:
        typer.echo(f"urdfit: error: {problem.id}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _cells(episode: SourceEpisode) -> tuple[str, str, str, str]:
    known = []
    for view in episode.views:
        posed = view.T_cam_base is not None or (view.camera is not None and view.camera.T_cam_base is not None)
        parts = ["K"] * (view.camera is not None) + ["pose"] * posed + ["path"] * (view.Ts_cam_world is not None)
        known.append("+".join(parts) or "-")
    log = episode.joints
    joints = (
        "-" if log is None else f"{len(log.names)} x {len(log.q)}" + (", gripper" if log.gripper is not None else "")
    )
    return ", ".join(v.name for v in episode.views), ", ".join(known), joints, episode.task or "-"
