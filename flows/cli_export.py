"""`urdfit export`: episodes as training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import QuietOpt

if TYPE_CHECKING:
    from flows.exporting.job import Outcome

FORMATS = ("lerobot", "parquet", "csv")


def export(
    episodes: Annotated[
        list[Path], typer.Argument(metavar="EPISODE...", help="Episode folders, or folders that hold some.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR|FILE", help="Data set folder, or a table's file.")],
    format: Annotated[str, typer.Option("--format", help="lerobot (LeRobotDataset v3.0), parquet or csv.")] = "lerobot",
    append: Annotated[
        bool, typer.Option("--append", help="Add to the data set; episodes that it holds are passed over.")
    ] = False,
    space: Annotated[
        str, typer.Option("--space", help="joint: joint targets; ee: seven numbers as in Open X-Embodiment.")
    ] = "joint",
    task: Annotated[str | None, typer.Option("--task", help="What the robot does, in words.")] = None,
    fps: Annotated[
        int | None, typer.Option("--fps", min=1, help="Rows a second. Default: the first recording's.")
    ] = None,
    smooth: Annotated[
        float,
        typer.Option("--smooth", min=0.0, metavar="S", help="Seconds to either side that a row draws on; 0 = none."),
    ] = 0.15,
    max_sigma: Annotated[
        str,
        typer.Option(
            "--max-sigma", metavar="MM,DEG", help="Frames whose end effector is less certain are not trusted."
        ),
    ] = "50,12",
    max_gap: Annotated[
        float, typer.Option("--max-gap", min=0.0, metavar="S", help="Longer stretches without trust cut the episode.")
    ] = 0.5,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Also episodes judged unfit; their reasons are shown.")
    ] = False,
    binary_gripper: Annotated[
        bool, typer.Option("--binary-gripper", help="With --space ee: 1 open, 0 closed instead of the opening.")
    ] = False,
    cam: Annotated[str, typer.Option("--cam", metavar="NAME", help="The camera's name in the data set.")] = "camera",
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size of the pictures.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="States and actions only.")] = False,
    videos: Annotated[
        Path | None, typer.Option("--videos", metavar="DIR", help="Where recordings lie that have moved.")
    ] = None,
    quiet: QuietOpt = False,
) -> None:
    """Episodes as training data: actions at a fixed rate, smoothed without lag, with what is known of each row.

    Rows are taken from the recording's own timestamps. Frames whose end effector is not known well enough are bridged
    and marked where they are few, and cut the episode where they are many. Every episode gets a score and is kept or
    dropped, with reasons. Smoothing has no lag: it looks --smooth seconds ahead. An export that is stopped leaves a
    whole data set; with --append it goes on. The exit code is 1 if an episode could not be read,
    or none was left.
    """
    import math

    from flows.errors import UsageError
    from flows.exporting.action_extraction import ExtractionSettings
    from flows.exporting.job import export_lerobot
    from flows.exporting.settings import ExportSettings
    from flows.exporting.tables import export_table
    from flows.progress import progress_bars

    if format not in FORMATS:
        raise UsageError(f"--format {format}: expected {', '.join(FORMATS)}")
    if format != "lerobot" and append:
        raise UsageError("--append: only for --format lerobot; a table is written anew")
    if format != "lerobot" and out.suffix != f".{format}":
        raise UsageError(f"--out {out}: expected a file named *.{format}")
    position, rotation = _pair(max_sigma, "--max-sigma", ",", "millimetres and degrees, as in 50,12")
    pixels = (0.0, 0.0) if size is None else _pair(size, "--size", "x", "pixels, as in 320x240")
    settings = ExportSettings(
        space=space,
        binary_gripper=binary_gripper,
        cam=cam,
        size=None if size is None else (round(pixels[0]), round(pixels[1])),
        images=not no_images,
        task=task,
        keep_all=keep_all,
        append=append,
        videos=videos,
        extraction=ExtractionSettings(
            fps=fps,
            half_window=smooth,
            max_position_sigma=position / 1000,
            max_rotation_sigma=math.radians(rotation),
            max_gap=max_gap,
        ),
    )
    with progress_bars(quiet):
        outcomes = (export_lerobot if format == "lerobot" else export_table)(episodes, out, settings)
    show_outcomes(outcomes, out, quiet)


def _pair(text: str, option: str, between: str, what: str) -> tuple[float, float]:
    from flows.errors import UsageError

    try:
        a, b = (float(part) for part in text.lower().split(between))
        if not (0 < a < 1e6 and 0 < b < 1e6):
            raise ValueError
    except ValueError:
        raise UsageError(f"{option} {text}: expected {what}") from None
    return a, b


def show_outcomes(outcomes: list[Outcome], out: Path, quiet: bool) -> None:
    """A table of what became of each episode, and a line on stderr for every one that failed.

    Exits with 1 for such, or where nothing was written and nothing was there.
    """
    import math

    from rich.markup import escape

    from flows.exporting.settings import FAILED, KEPT
    from flows.terminal import print_table, table

    if not quiet:
        rows = table("episode", "", "score", "rows", "")
        for o in outcomes:
            score = "-" if math.isnan(o.score) else f"{o.score:.2f}"
            rows.add_row(escape(str(o.folder)), o.state, score, str(o.rows or "-"), escape(o.reason))
        print_table(rows)
        kept = [o for o in outcomes if o.state == KEPT]
        typer.echo(f"exported {len(kept)} of {len(outcomes)} episodes, {sum(o.rows for o in kept)} rows: {out}")
    failed = [o for o in outcomes if o.state == FAILED]
    for o in failed:
        typer.echo("urdfit: error: " + " ".join(o.reason.split()), err=True)
    if not failed and not out.exists():
        typer.echo(f"urdfit: error: {out}: not written, as no episode is left to export", err=True)
    if failed or not out.exists():
        raise typer.Exit(1)
