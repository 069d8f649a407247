"""`urdfit train`: data to train on, and trainings of the segmenters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import cli_train_label, cli_train_refine, cli_train_segmenter
from flows.options import QuietOpt

train = typer.Typer(help="Training data and trainings of the segmenters.", no_args_is_help=True)
Folders = list[Path] | None


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    train.command(epilog="Example: urdfit train data --robot panda=2 --robot ur5e --out data --count 2000 --clips 60")(
        data
    )
    cli_train_segmenter.register(train)
    cli_train_label.register(train)
    cli_train_refine.register(train)
    app.add_typer(train, name="train")


def data(
    robot: Annotated[
        list[str],
        typer.Option(
            "--robot", "-r", metavar="R[=W]", help="A name or a file, as elsewhere; W: how often. Repeatable."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of shards; added to when it is there.")
    ],
    count: Annotated[int, typer.Option("--count", metavar="N", min=0, help="Single pictures.")] = 1000,
    clips: Annotated[int, typer.Option("--clips", metavar="N", min=0, help="Short clips.")] = 0,
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=2, max=1000, help="Frames of a clip.")] = 16,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Pixels.")] = "640x480",
    photos: Annotated[Folders, typer.Option(metavar="DIR", help="Photos without robots. Repeatable.")] = None,
    textures: Annotated[Folders, typer.Option(metavar="DIR", help="Photos of materials. Repeatable.")] = None,
    hdris: Annotated[Folders, typer.Option(metavar="DIR", help="Panoramas, .hdr or .exr. Repeatable.")] = None,
    objects: Annotated[Folders, typer.Option(metavar="DIR", help="Meshes, .obj or .stl. Repeatable.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=999, help="The same seed gives the same data.")] = 0,
    empty: Annotated[float, typer.Option(min=0, max=1, metavar="S", help="Share of pictures without a robot.")] = 0.1,
    own: Annotated[
        float, typer.Option(min=0, max=1, metavar="S", help="Share of robots that surely keep their own colours.")
    ] = 0.0,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, max=256, help="Processes; default: one a core.")
    ] = None,
    quiet: QuietOpt = False,
) -> None:
    """Draw pictures and clips of robots with exact masks of arm and gripper, joints, camera and depth.

    Without any folder everything is drawn procedurally; photos, textures, panoramas and objects make it better. The
    same command goes on after an interruption, and with a larger --count it adds.
    """
    import os

    from flows.errors import UsageError
    from flows.progress import progress_bars, report
    from segmentation.training.assets import Sources
    from segmentation.training.data import DataSettings, make_data

    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and 32 <= int(width) <= 4096 and 32 <= int(height) <= 4096):
        raise UsageError(f"--size {size}: expected WxH, such as 640x480, with 32 to 4096 pixels each")
    if count + clips == 0:
        raise UsageError("--count 0 --clips 0: nothing to draw")
    sources = Sources(tuple(robot), *(tuple(folders or ()) for folders in (photos, textures, hdris, objects)))
    settings = DataSettings(sources, count, clips, frames, int(width), int(height), seed, empty, own)
    with progress_bars(quiet):
        drawn = make_data(
            settings, out, workers or os.cpu_count() or 1, lambda done, total: report("frames", done, total)
        )
    if not quiet:
        typer.echo(f"data: {out}")
        typer.echo(f"frames: {count + clips * frames}, of them drawn now: {drawn}")
