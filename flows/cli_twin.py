"""`urdfit twin`: from a rig of cameras to a scene that simulators load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.options import NoPrefectOpt, OutOpt, QuietOpt, SeedOpt, WeightsOpt

RigArg = Annotated[
    Path,
    typer.Argument(
        metavar="RIG",
        help="A rig.json, nerfstudio's transforms.json, or a folder as RealSense and ZED tools and data sets leave it.",
    ),
]
RobotOpt = Annotated[
    str | None,
    typer.Option("--robot", "-r", metavar="R", help="As for `urdfit run`; without it the rig's own poses are taken."),
]
MasksOpt = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        metavar="DIR",
        help="Masks to use: DIR/CAMERA/robot/*.png of the robot, DIR/CAMERA/NAME/*.png of the object NAME.",
    ),
]
JointsOpt = Annotated[
    Path | None,
    typer.Option("--joints", metavar="FILE", help="q.json: a row a frame of the first camera, or rows with times."),
]
VoxelOpt = Annotated[float, typer.Option("--voxel", metavar="M", help="Metres between samples of the surface.")]
FramesOpt = Annotated[
    int, typer.Option("--frames", min=1, metavar="N", help="Most pictures a camera that tell what stands still.")
]
EveryOpt = Annotated[
    int | None,
    typer.Option(
        "--every",
        min=1,
        metavar="N",
        help="Use every N-th frame, and segment them all; default: at most 300, and segment those that are needed.",
    ),
]
DensityOpt = Annotated[
    float, typer.Option("--density", metavar="KG/M3", help="Of objects, until objects.json says more.")
]
BoundsOpt = Annotated[
    str | None,
    typer.Option("--bounds", metavar="X0,Y0,Z0,X1,Y1,Z1", help="Fuse only what lies in this box, metres, base frame."),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: urdfit twin rig.json --robot panda --out scene")(twin)


def twin(
    rig: RigArg,
    out: OutOpt,
    robot: RobotOpt = None,
    masks: MasksOpt = None,
    weights: WeightsOpt = "default",
    joints: JointsOpt = None,
    voxel: VoxelOpt = 0.004,
    frames: FramesOpt = 50,
    every: EveryOpt = None,
    density: DensityOpt = 300.0,
    bounds: BoundsOpt = None,
    seed: SeedOpt = 0,
    no_prefect: NoPrefectOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """A scene twin: cameras placed by the robot, surroundings and objects as bodies, for MuJoCo, URDF and USD.

    The scene is in metres, Z up, its origin at the robot's base. Edit objects.json in its folder and run the command
    again to rename things or say what they are made of.
    """
    from flows.errors import UsageError
    from flows.progress import progress_bars

    try:
        box = None if bounds is None else [float(v) for v in bounds.split(",")]
    except ValueError:
        raise UsageError(f"--bounds {bounds}: expected six numbers, metres, separated by commas") from None
    with progress_bars(quiet):
        folder = _build(
            no_prefect, rig, robot, out, masks=masks, weights=weights, joints=joints, voxel=voxel, frames=frames,
            every=every, density=density, bounds=box, seed=seed,
        )  # fmt: skip
    if not quiet:
        show_scene(folder)


def _build(no_prefect: bool, rig: Path, robot: str | None, out: Path, **options: Any) -> Path:
    if no_prefect:
        from flows.twin_run import build_twin

        return build_twin(rig, robot, out, **options)
    if not os.environ.get("URDFIT_DEBUG"):
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # our own bars and one-line errors say it all
        os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    import flows

    return flows.build_twin(rig, robot, out, **options)


def show_scene(folder: Path) -> None:
    """What was built, in a few lines."""
    from flows.terminal import print_table, table
    from twin.scene_files import read_scene

    scene = read_scene(folder)
    rows = table("camera", "")
    for statement in scene.metrics.get("cameras", []):
        rows.add_row(str(statement.get("name")), str(statement.get("text")))
    print_table(rows)
    rows = table("body", "mass", "pieces", "place, m")
    for body in scene.bodies:
        at = ", ".join(f"{v:.3f}" for v in body.T_base_body[:3, 3])
        rows.add_row(body.name, "fixed" if body.static else f"{body.mass:.3g} kg", str(len(body.collision)), at)
    print_table(rows)
    for warning in scene.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"scene: {folder}")
