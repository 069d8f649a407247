"""`urdfit train label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import QuietOpt, RobotOpt


def register(train: typer.Typer) -> None:
    """Add the command to the group."""
    train.command(epilog="Example: urdfit train label calibration --robot panda --link panda_link8 --out shards")(label)


def label(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="calib_and_poses.json (cameras, end-effector poses) and NNN_<camera>.jpg."),
    ],
    robot: RobotOpt,
    link: Annotated[str, typer.Option("--link", metavar="LINK", help="The link whose poses were recorded.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder; gets one shard of the name of DIR.")],
    camera: Annotated[
        list[str] | None,
        typer.Option("--camera", metavar="NAME", help="Label only this camera's pictures; all help. Repeatable."),
    ] = None,
    quiet: QuietOpt = False,
) -> None:
    """Label real pictures of a seven-joint arm whose cameras and end-effector poses are known, but not its joints.

    The elbow is found by the edges of all pictures of an instant. Look at the labels before training on them: tools
    that the description lacks count as background.
    """
    from flows.errors import UsageError
    from flows.job import robot_of
    from flows.progress import progress_bars, report
    from segmentation.training.posed import label_posed, open_posed
    from segmentation.training.shards import ShardSet, write_shard

    loaded = robot_of(robot)
    if link not in loaded.link_names:
        raise UsageError(f"--link {link}: {loaded.name} has {', '.join(loaded.link_names)}")
    if len(loaded.arm_joints) != 7:
        raise UsageError(f"--robot {robot}: {len(loaded.arm_joints)} joints; only arms of seven can be labelled so")
    posed = open_posed(folder)
    wrong = [name for name in camera or () if name not in posed.cameras]
    if wrong:
        raise UsageError(f"--camera {wrong[0]}: expected some of {', '.join(posed.cameras)}")
    path = out / f"{folder.absolute().name}.tar"
    with progress_bars(quiet):
        use = camera or list(posed.cameras)
        write_shard(path, label_posed(posed, loaded, link, use, lambda done, total: report("instants", done, total)))
    if not quiet:
        typer.echo(f"labelled: {len(ShardSet(path.parent))} pictures in {path.parent}")
