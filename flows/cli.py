"""The command line `urdfit`. Heavy modules are imported in the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import cli_augment, cli_segment, cli_tools, cli_train, cli_twin
from flows.options import (
    BoxOpt,
    CameraOpt,
    ClickOpt,
    DepthOpt,
    DepthScaleOpt,
    EdgesOpt,
    FpsOpt,
    JointsOpt,
    MaskOpt,
    NoPrefectOpt,
    OutOpt,
    QuietOpt,
    RobotOpt,
    SeedOpt,
    SolveOpt,
    VideoArg,
    WeightsOpt,
    prompt_pairs,
)

app = typer.Typer(
    name="urdfit",
    help="From a video of a robot to its camera, joint angles, gripper opening and actions.",
    epilog="Example: urdfit run clip.mp4 --robot panda --out episode",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _run_episode(no_prefect: bool, video: Path, robot: str, out: Path, **options: Any) -> Path:
    """`run_episode`: as a Prefect flow, or without Prefect when asked to or when there is nothing left to do."""
    from flows import run
    from flows.job import make_job

    if no_prefect:
        return run.run_episode(video, robot, out, **options)
    try:  # starting Prefect takes longer than handing out what is in the store
        run.check_out(out)
        return run.run_job(make_job(video, robot, **options), out, run.stored_stage)
    except run.NotStored:
        pass
    if not os.environ.get("URDFIT_DEBUG"):
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # our own bars and one-line errors say it all
        os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    import flows

    return flows.run_episode(video, robot, out, **options)


@app.command(epilog="Example: urdfit run clip.mp4 --robot panda --camera cam.json --out episode")
def run(
    video: VideoArg,
    robot: RobotOpt,
    out: OutOpt,
    camera: CameraOpt = None,
    weights: WeightsOpt = "default",
    masks: Annotated[
        Path | None, typer.Option("--masks", metavar="DIR", help="Masks to use instead of the segmenter's.")
    ] = None,
    click: ClickOpt = None,
    box: BoxOpt = None,
    mask: MaskOpt = None,
    joints: JointsOpt = None,
    solve: SolveOpt = None,
    fps: FpsOpt = None,
    seed: SeedOpt = 0,
    edges: EdgesOpt = True,
    depth: DepthOpt = None,
    depth_scale: DepthScaleOpt = 0.001,
    no_prefect: NoPrefectOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """The main job: segment the robot, fit camera and joints, derive actions, write a report."""
    from flows.progress import progress_bars

    with progress_bars(quiet):
        folder = _run_episode(
            no_prefect, video, robot, out, camera=camera, weights=weights, masks=masks, joints=joints, solve=solve,
            fps=fps, seed=seed, edges=edges, depth=depth, depth_scale=depth_scale,
            prompts=prompt_pairs(click, box, mask),
        )  # fmt: skip
    if not quiet:
        cli_tools.show_episode(folder)


@app.command(epilog="Example: urdfit fit clip.mp4 --robot panda --masks masks --joints q.json --out episode")
def fit(
    video: VideoArg,
    robot: RobotOpt,
    masks: Annotated[Path, typer.Option("--masks", metavar="DIR", help="Folder of masks, see `urdfit segment`.")],
    out: OutOpt,
    camera: CameraOpt = None,
    joints: JointsOpt = None,
    solve: SolveOpt = None,
    fps: FpsOpt = None,
    seed: SeedOpt = 0,
    edges: EdgesOpt = True,
    depth: DepthOpt = None,
    depth_scale: DepthScaleOpt = 0.001,
    quiet: QuietOpt = False,
) -> None:
    """Camera, joints and actions from masks; an episode folder without overlay and report."""
    from flows.job import make_job
    from flows.progress import progress_bars
    from flows.run import check_out, run_job

    check_out(out)
    with progress_bars(quiet):
        job = make_job(video, robot, camera=camera, masks=masks, joints=joints, solve=solve, fps=fps, seed=seed,
                       edges=edges, depth=depth, depth_scale=depth_scale)  # fmt: skip
        folder = run_job(job, out, report=False)
    if not quiet:
        cli_tools.show_episode(folder)


@app.command(epilog="Example: urdfit actions episode --out actions.csv --format csv --space ee")
def actions(
    episodes: Annotated[list[Path], typer.Argument(metavar="EPISODE...", help="Episode folders.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE|DIR", help="One file for all, or a folder with one each."),
    ],
    format: Annotated[str, typer.Option("--format", help="parquet or csv.")] = "parquet",
    space: Annotated[
        str, typer.Option("--space", help="ee: changes of the end effector's pose; joint: joint targets.")
    ] = "ee",
) -> None:
    """Actions as a table: frame, time, seven numbers (ee) or the next frame's joints and gripper (joint)."""
    from flows.action_tables import write_actions

    for path in write_actions(episodes, out, format, space):
        typer.echo(f"actions: {path}")


@app.command(epilog="Example: urdfit demo --out demo")
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the sample and its episode.")
    ] = Path("demo"),
    no_prefect: NoPrefectOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Draw a sample episode, handle it like any video, and print the errors against its truth."""
    from flows.demo import run_demo
    from flows.progress import progress_bars

    with progress_bars(quiet):
        result = run_demo(out, partial(_run_episode, no_prefect))
    cli_tools.show_demo(result)


cli_segment.register(app)
cli_tools.register(app)
cli_train.register(app)
cli_augment.register(app)
cli_twin.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 failed, 2 bad usage."""
    # Threads that wait sleep: spinning ones starve each other tenfold when something else uses the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        command = typer.main.get_command(app)
        code = command.main(list(sys.argv[1:] if arguments is None else arguments), "urdfit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if os.environ.get("URDFIT_DEBUG"):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    """One line on stderr for what a user can mend; anything else is a fault of ours and raised."""
    if hasattr(error, "format_message"):  # typer's errors of usage, whichever click it brings along
        return _fail(f"{error.format_message()} (see --help)", 2)
    if type(error).__name__ == "Abort":
        return _fail("interrupted", 130)
    from flows.errors import UsageError, user_errors

    if isinstance(error, UsageError):
        return _fail(str(error), 2)
    if isinstance(error, user_errors()):
        return _fail(str(error), 1)
    if isinstance(error, OSError) and error.strerror:
        return _fail(f"{error.filename or 'system'}: {error.strerror}", 1)
    if isinstance(error, MemoryError):
        return _fail("not enough memory; close other programs or use a smaller video", 1)
    raise error


def _fail(message: str, code: int) -> int:
    print("urdfit: error: " + " ".join(message.split()), file=sys.stderr)
    return code


def entry() -> None:
    """For `python -m flows.cli`."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
