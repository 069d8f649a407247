"""Arguments and options that several commands of `urdfit` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

VideoArg = Annotated[
    Path, typer.Argument(metavar="VIDEO", help="A video file, or a folder of images in natural order.")
]
RobotOpt = Annotated[
    str,
    typer.Option(
        "--robot",
        "-r",
        metavar="R",
        help="A name (see `urdfit robots list`), a URDF / xacro / MJCF / TOML file, or auto.",
    ),
]
OutOpt = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; replaced as a whole.")]
CameraOpt = Annotated[
    Path | None,
    typer.Option("--camera", metavar="FILE", help="cam.json with K and, where known, T_cam_base; else solved for."),
]
WeightsOpt = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="W",
        help="Segmenter: default, several (default at several sizes), robotseg, sam2, a name from `urdfit weights list`"
        ", or a weights file.",
    ),
]
ClickOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--click",
        metavar="F:X,Y,+|-",
        help="In frame F (from 0) the pixel X,Y is robot (+) or is not (-). Repeatable; all prompts may name a part, "
        "as in gripper@0:310,90,+.",
    ),
]
BoxOpt = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="F:X0,Y0,X1,Y1", help="In frame F the robot is in this box. Repeatable."),
]
MaskOpt = Annotated[
    list[str] | None,
    typer.Option("--mask", metavar="F:PNG", help="The mask of frame F, of the video's size. Repeatable."),
]
JointsOpt = Annotated[
    Path | None,
    typer.Option(
        "--joints",
        metavar="FILE",
        help="q.json: a row a frame, or rows with their times = known joints; a single row = those of the first frame.",
    ),
]
SolveOpt = Annotated[
    str | None,
    typer.Option(
        "--solve", metavar="LIST", help="Any of camera,joints,gripper,focal,time. Default: what is not given."
    ),
]
EdgesOpt = Annotated[
    bool,
    typer.Option("--edges/--no-edges", help="Sharpen the fit by the robot's edges in the pictures."),
]
DepthOpt = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        metavar="DIR",
        help="16-bit depth PNGs, one a frame, aligned with the pictures: refines the fit. Wrong units are noticed.",
    ),
]
DepthScaleOpt = Annotated[
    float, typer.Option("--depth-scale", metavar="M", help="Metres a unit of the depth pictures.")
]
FpsOpt = Annotated[
    float | None, typer.Option("--fps", min=0.01, help="Frames a second of a folder of images (default 30).")
]
SeedOpt = Annotated[int, typer.Option("--seed", help="Of the random searches; the same seed gives the same result.")]
NoPrefectOpt = Annotated[bool, typer.Option("--no-prefect", help="Run the stages directly, not as a Prefect flow.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no summary.")]


def prompt_pairs(
    click: Sequence[str] | None, box: Sequence[str] | None, mask: Sequence[str] | None
) -> tuple[tuple[str, str], ...]:
    """The prompts of a command line as `flows.job.Job` holds them."""
    given = {"click": click, "box": box, "mask": mask}
    return tuple((kind, text) for kind, texts in given.items() for text in texts or ())


def check_device(device: str) -> None:
    """Is this what `torch` calls a device, and is it there?

    Raises:
        UsageError: another word, or a GPU that torch does not see.
    """
    from flows.errors import UsageError

    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: expected cpu or cuda")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: torch sees no GPU here; use cpu")
