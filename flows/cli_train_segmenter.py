"""`urdfit train segmenter`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import QuietOpt, check_device

Folders = list[Path] | None


def register(train: typer.Typer) -> None:
    """Add the command to the group."""
    train.command(epilog="Example: urdfit train segmenter --data shards --photos photos --out run --steps 20000")(
        segmenter
    )


def segmenter(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; an interrupted one goes on there.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR[=W]",
            help="Shards of `train data`, VRS (train/), episodes, or for robotseg also RoboEngine. Repeatable. "
            "W, for compact: how often to draw from it; default: as many as it has pictures.",
        ),
    ] = None,
    network: Annotated[
        str, typer.Option("--network", metavar="NET", help="compact (the default weights' network) or robotseg.")
    ] = "compact",
    start_from: Annotated[
        str | None,
        typer.Option(metavar="W", help="Weights to begin with: as --weights elsewhere; robotseg takes SAM 2.1 tiny."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Updates. Default: compact 10000, robotseg 25 rounds of the data."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pictures a batch. Default: compact 8, robotseg 10; clips 1.")
    ] = None,
    accumulate: Annotated[int, typer.Option(min=1, metavar="N", help="Batches an update.")] = 1,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Pixels trained on. Default: compact 352x256, robotseg 1024 (a square)."),
    ] = None,
    photos: Annotated[
        Folders, typer.Option(metavar="DIR", help="compact: pictures without robots, put behind them. Repeatable.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="compact, with --start-from: small steps, closer crops, and photos without a robot."
        ),
    ] = False,
    hdris: Annotated[
        Folders, typer.Option(metavar="DIR", help="--tune: panoramas without robots, .hdr or .exr. Repeatable.")
    ] = None,
    without: Annotated[
        float,
        typer.Option(min=0, max=0.9, metavar="S", help="--tune: share of samples from photos and panoramas alone."),
    ] = 0.3,
    mix: Annotated[
        str | None, typer.Option(metavar="W=A", help="At the end: A of the weights W and 1-A of the trained ones.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="VRS, RoboEngine: a text file of videos, one a line.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="robotseg: a DINOv3 in transformers' format, for rough masks of later frames."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same run.")] = 0,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Needs no data: learn 8 rendered pictures (2 minutes), fail if it does not.")
    ] = False,
    quiet: QuietOpt = False,
) -> None:
    """Train the default network on labelled pictures, or RobotSeg from first-frame labels (LET).

    May be killed at any moment: the same command goes on from the last checkpoint (every 3 minutes) with the same
    numbers. RUN gets checkpoint.pt, curves for TensorBoard, and at the end weights.pt for `urdfit weights add`.
    """
    from flows.errors import UsageError
    from flows.smoke import smoke_test
    from flows.training import NETWORKS, TrainingJob, train_segmenter

    if network not in NETWORKS:
        raise UsageError(f"--network {network}: expected {' or '.join(NETWORKS)}")
    if smoke and data:
        raise UsageError("--smoke makes its own data: leave --data out")
    if not smoke and not data:
        raise UsageError("--data DIR is missing; make data with `urdfit train data`, or try --smoke")
    folders, shares = _data(data or [], network)
    if tune and (network != "compact" or start_from is None):
        raise UsageError("--tune goes on with weights of the compact network: give them with --start-from")
    mixed = _mix(mix, network)
    width, height = _size(size, network)
    check_device(device)

    def log(line: str) -> None:
        if not quiet:
            typer.echo(line)

    if smoke:
        trained = smoke_test(network, out, log)
    else:
        job = TrainingJob(
            network, folders, names, tuple(photos or ()), start_from, steps, batch, accumulate, width, height,
            features, device, seed, shares, tune, tuple(hdris or ()), without, mixed,
        )  # fmt: skip
        trained = train_segmenter(job, out, log)
    if trained.overlap is not None:
        log(f"learnt: J {trained.overlap:.3f} on eight rendered pictures")
    if trained.losses is not None:
        log(f"loss: {trained.losses[0]:.2f} before, {trained.losses[1]:.2f} after")
    log(f"weights: {trained.weights}")


def _data(texts: list[str], network: str) -> tuple[tuple[Path, ...], tuple[float, ...]]:
    """Folders and, where they are given, their shares.

    Raises:
        UsageError: a share that is none, or shares for some folders only, or for robotseg.
    """
    from flows.errors import UsageError

    folders: list[Path] = []
    shares: list[float] = []
    for text in texts:
        name, sign, share = text.rpartition("=")
        if not sign or Path(text).exists():
            folders.append(Path(text))
            continue
        folders.append(Path(name))
        try:
            shares.append(float(share))
        except ValueError:
            shares.append(-1)
        if not 0 < shares[-1] < float("inf"):
            raise UsageError(f"--data {text}: expected a number above 0 behind the =, such as {name}=0.5")
    if shares and (len(shares) < len(folders) or network != "compact"):
        raise UsageError("--data DIR=W: give the share of every folder or of none; robotseg takes none")
    return tuple(folders), tuple(shares)


def _mix(text: str | None, network: str) -> tuple[str, float] | None:
    """Weights and their share, or None.

    Raises:
        UsageError: no share between 0 and 1, or of another network than the compact one.
    """
    from flows.errors import UsageError

    if text is None:
        return None
    name, _, share = text.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1
    if not (name and 0 < value < 1 and network == "compact"):
        raise UsageError(f"--mix {text}: expected weights of the compact network and a share, such as default=0.2")
    return name, value


def _size(text: str | None, network: str) -> tuple[int | None, int | None]:
    """Width and height, or None for the usual ones.

    Raises:
        UsageError: no size, or one that the network cannot take.
    """
    from flows.errors import UsageError

    if text is None:
        return None, None
    first, _, second = text.partition("x")
    if not (first.isdigit() and (second or first).isdigit()):
        raise UsageError(f"--size {text}: expected WxH, such as 352x256")
    width, height = int(first), int(second or first)
    multiple = 128 if network == "robotseg" else 32
    if width % multiple or height % multiple or not multiple <= width <= 4096 or not multiple <= height <= 4096:
        raise UsageError(f"--size {text}: expected multiples of {multiple} up to 4096")
    if network == "robotseg" and width != height:
        raise UsageError(f"--size {text}: robotseg sees squares, such as 1024x1024")
    return width, height
