"""`urdfit segment` and `urdfit weights`: masks alone, and the weights files that make them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import BoxOpt, ClickOpt, FpsOpt, MaskOpt, QuietOpt, VideoArg, WeightsOpt, prompt_pairs
from flows.terminal import print_table, table

weights = typer.Typer(help="Weights files of segmenters: RobotSeg, SAM 2, or trained here.", no_args_is_help=True)
PARTS = ("robot", "arm", "gripper")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog="Example: urdfit segment clip.mp4 --out masks --click 0:320,200,+ --click 0:90,120,-")(segment)
    app.add_typer(weights, name="weights")


def segment(
    video: VideoArg,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for robot/, arm/, gripper/ and overlay.mp4.")
    ],
    part: Annotated[str, typer.Option("--part", help="robot, arm, gripper or all.")] = "all",
    weights: WeightsOpt = "default",
    click: ClickOpt = None,
    box: BoxOpt = None,
    mask: MaskOpt = None,
    fps: FpsOpt = None,
    quiet: QuietOpt = False,
) -> None:
    """Masks of the robot: a PNG a frame and part, 255 where the robot is, and a video with the masks drawn.

    Prompts hold from their frame on, the first also before it; a later one corrects. With the default weights clicks
    and boxes choose among what the network sees; RobotSeg and SAM 2 take them as they are. SAM 2 needs them.
    """
    from flows.errors import UsageError
    from flows.job import make_job
    from flows.mask_output import run_masks
    from flows.progress import progress_bars

    if part not in (*PARTS, "all"):
        raise UsageError(f"--part {part}: expected robot, arm, gripper or all")
    with progress_bars(quiet):
        job = make_job(
            video,
            weights=weights,
            prompts=prompt_pairs(click, box, mask),
            parts=() if part == "all" else (part,),
            fps=fps,
        )
        done = run_masks(job, out)
    if not quiet:
        typer.echo(f"masks: {done.folder}")
        typer.echo(done.summary)


@weights.command("list", epilog="Example: urdfit weights list")
def weights_list() -> None:
    """The names that --weights understands."""
    from segmentation import weights_store

    added = weights_store.entries()
    rows = table("name", "model", "parameters", "MB", "sha256", "added")
    rows.add_row(
        "default", "built-in network", "3.4 M", f"{weights_store.DEFAULT_WEIGHTS.stat().st_size / 1e6:.0f}", "", ""
    )
    for entry in added:
        size = f"{entry.bytes / 1e6:.0f}"
        rows.add_row(entry.name, entry.model, f"{entry.parameters / 1e6:.1f} M", size, entry.sha256[:12], entry.added)
    print_table(rows)
    for kind in weights_store.ALIASES:
        if not any(entry.kind == kind for entry in added):
            typer.echo(f"{kind}: none added; {weights_store.WHERE[kind]}, then run `urdfit weights add FILE`")


@weights.command("add", epilog="Example: urdfit weights add robotseg.pt")
def weights_add(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A .pt file of RobotSeg, SAM 2, SAM 2.1 or `urdfit train`.")
    ],
    name: Annotated[str | None, typer.Option("--name", metavar="N", help="Default: the model's name.")] = None,
) -> None:
    """Verify a weights file, tell which model it is of, and copy it into the user's cache. Nothing is downloaded."""
    from segmentation import weights_store

    entry = weights_store.add(path, name)
    typer.echo(f"{entry.name}: {entry.model}, {entry.parameters / 1e6:.1f} M parameters, sha256 {entry.sha256}")
    typer.echo(f"use it with --weights {entry.name}")


@weights.command("show", epilog="Example: urdfit weights show robotseg")
def weights_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a weights file.")],
) -> None:
    """Model, size, hash and origin of weights; verified again."""
    from segmentation import weights_store

    path = weights_store.find(name)
    weights_store.check_intact(path)
    state = weights_store.read_weights(path)
    entry = next((entry for entry in weights_store.entries() if entry.path == path), None)
    facts = {
        "name": entry.name if entry else name,
        "model": weights_store.recognised(state, path),
        "numbers": f"{sum(tensor.numel() for tensor in state.values()):,} in {len(state)} tensors",
        "bytes": f"{path.stat().st_size:,}",
        "sha256": weights_store.content_hash(path),
        "file": path,
        **({"copied from": entry.source, "added": entry.added} if entry else {}),
    }
    for fact, value in facts.items():
        typer.echo(f"{fact}: {value}")
