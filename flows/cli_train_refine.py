"""`urdfit train refine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import FpsOpt, QuietOpt, RobotOpt, check_device

Paths = list[Path] | None


def register(train: typer.Typer) -> None:
    """Add the command to the group."""
    train.command(epilog="Example: urdfit train refine lab1.mp4 lab2.mp4 --robot panda --camera cam.json --out run")(
        refine
    )


def refine(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEOS...", help="Video files, or folders of pictures.")],
    robot: RobotOpt,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; an interrupted one goes on there.")
    ],
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=20, metavar="N", help="How often to segment, fit and train.")
    ] = 2,
    camera: Annotated[
        Paths, typer.Option("--camera", metavar="FILE", help="cam.json: one for all videos, or one each in order.")
    ] = None,
    start_from: Annotated[
        str, typer.Option(metavar="W", help="Weights of the compact network to begin with: default, or a file.")
    ] = "default",
    data: Annotated[
        Paths, typer.Option(metavar="DIR", help="Shards of `train data` to mix in; some are drawn if none are given.")
    ] = None,
    photos: Annotated[
        Paths, typer.Option(metavar="DIR", help="Pictures without robots, put behind robots. Repeatable.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Updates of the weights a round.")] = 300,
    batch: Annotated[int, typer.Option("--batch", min=1, max=256, metavar="N", help="Pictures an update.")] = 8,
    fps: FpsOpt = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda, for the training.")] = "cpu",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same run.")] = 0,
    quiet: QuietOpt = False,
) -> None:
    """Better weights for your robot and your room from videos without labels.

    Segments the videos, fits the robot, draws it at the fitted pose in the frames whose fit can be trusted, trains on
    these labels mixed with rendered pictures, and repeats. DIR/weights.pt is for --weights or `urdfit weights add`.
    """
    from flows.progress import progress_bars
    from flows.refine import WEIGHTS, RefineJob, refine

    check_device(device)
    job = RefineJob(
        tuple(p.absolute() for p in videos), robot, tuple(p.absolute() for p in camera or ()), start_from, rounds,
        steps, batch, tuple(p.absolute() for p in data or ()), tuple(p.absolute() for p in photos or ()), fps, device,
        seed,
    )  # fmt: skip

    def log(line: str) -> None:
        if not quiet:
            typer.echo(line)

    with progress_bars(quiet):
        report = refine(job, out, log)
    for one in report["rounds"]:
        log(f"round {one['round']}: the masks overlapped the fitted robot by {one['mask_iou']:.3f}")
    log(f"after the last round: {report['mask_iou_after']:.3f}")
    log(f"weights: {out / WEIGHTS}")
