"""`urdfit augment`: more episodes out of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import QuietOpt, SeedOpt


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: urdfit augment episode --backgrounds photos --robot ur5e_robotiq --count 8 --out out")(
        augment
    )


def augment(
    episode: Annotated[Path, typer.Argument(metavar="EPISODE", help="Episode folder of `urdfit run`.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for 000/, 001/, ...; finished ones are left.")
    ],
    backgrounds: Annotated[
        Path | None, typer.Option("--backgrounds", metavar="DIR", help="Pictures to put behind the robot.")
    ] = None,
    texture: Annotated[
        Path | None,
        typer.Option("--texture", metavar="DIR", help="Textures for the table (and, without pictures, the walls)."),
    ] = None,
    robot: Annotated[
        str | None,
        typer.Option("--robot", "-r", metavar="R", help="Draw this robot instead, its tool where the old one's was."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="X,Y,Z", help="Where its base stands in the old one's frame, metres."),
    ] = None,
    cut: Annotated[
        str, typer.Option("--cut", help="Cut the robot out along its masks, or along the fit where masks are poor.")
    ] = "masks",
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Masks of things that stay, such as a held object.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", metavar="VIDEO", help="Where the episode's video is now.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="Number of episodes.")] = 1,
    seed: SeedOpt = 0,
    quiet: QuietOpt = False,
) -> None:
    """Other backdrops, or another robot with the same tool poses: new episodes with the same actions.

    The camera must not move. The same seed gives the same episodes; a stopped run goes on where it was.
    """
    from flows.augmentation.job import augment_episode, make_augmentation
    from flows.progress import progress_bars

    with progress_bars(quiet):
        job = make_augmentation(
            episode, backgrounds=backgrounds, textures=texture, robot=robot, base=_point(base), cut=cut, keep=keep,
            video=video, seed=seed,
        )  # fmt: skip
        variants = augment_episode(job, out, count)
    if quiet:
        return
    made = [v for v in variants if v.seconds]
    for v in variants:
        reach = f"; {v.reached:.0%} of the valid frames reached" if robot is not None else ""
        typer.echo(f"episode: {v.folder}{'' if v.seconds else ' (was there)'}{reach}")
    if made:
        speed = sum(v.frames for v in made) / sum(v.seconds for v in made)
        typer.echo(f"frames: {sum(v.frames for v in made)}, {speed:.1f} frames/s")


def _point(text: str | None) -> tuple[float, float, float] | None:
    from flows.errors import UsageError

    if text is None:
        return None
    try:
        x, y, z = (float(v) for v in text.split(","))
    except ValueError:
        raise UsageError(f"--base {text}: expected three numbers X,Y,Z in metres") from None
    if not all(abs(v) < 100 for v in (x, y, z)):
        raise UsageError(f"--base {text}: expected three numbers X,Y,Z in metres")
    return x, y, z
