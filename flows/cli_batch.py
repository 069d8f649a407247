"""`urdfit batch`: every episode of a data set, each once; the same command again does what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import CameraOpt, NoPrefectOpt, QuietOpt, SeedOpt, SolveOpt, WeightsOpt

if TYPE_CHECKING:
    from flows.batch.batch import BatchReport

DatasetArg = Annotated[
    str, typer.Argument(metavar="DATASET", help="A folder of episodes, a URL of one, or an episodes.csv.")
]
RobotOpt = Annotated[
    str | None,
    typer.Option("--robot", "-r", metavar="R", help="As for `urdfit run`. Default: what the data set says of each."),
]
OutOpt = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The batch's folder: new, or to go on with.")]
KindOpt = Annotated[str | None, typer.Option("--kind", help="Format of the data set, see `urdfit dataset`.")]
MasksOpt = Annotated[
    Path | None,
    typer.Option("--masks", metavar="DIR", help="Masks to use: a folder an episode, named as it is in DIR/episodes."),
]
ViewOpt = Annotated[str | None, typer.Option("--view", metavar="NAME", help="Camera to use; default: the first.")]
WorkersOpt = Annotated[int, typer.Option("--workers", "-j", min=1, metavar="N", help="Episodes at a time.")]
RunnerOpt = Annotated[str, typer.Option("--runner", help="local, or dask / ray: on a cluster.")]
AddressOpt = Annotated[
    str | None,
    typer.Option("--address", metavar="URL", help="Of the cluster (dask, ray); default: one on this machine."),
]
ResourceOpt = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="NAME=AMOUNT", help="What an episode needs of a cluster's worker, as in GPU=1."),
]
TimeOpt = Annotated[
    float | None, typer.Option("--time-limit", metavar="S", help="Seconds that an attempt at an episode may take.")
]
MemoryOpt = Annotated[
    float | None, typer.Option("--memory-limit", metavar="GB", help="Memory that a worker may use, 1e9 bytes.")
]
RetriesOpt = Annotated[
    int, typer.Option("--retries", min=0, metavar="N", help="Further attempts where a worker, disk or network failed.")
]
LimitOpt = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N episodes.")]
RetryFailedOpt = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed in earlier runs.")]
VerifyOpt = Annotated[
    bool, typer.Option("--verify", help="Hash the files of what is done too, and do again what has changed.")
]
BareOpt = Annotated[
    bool,
    typer.Option("--no-episode-reports", help="No overlay, report and recording for each episode."),
]
CronOpt = Annotated[
    str | None,
    typer.Option("--cron", metavar="CRON", help="Serve it as a schedule on the Prefect server of PREFECT_API_URL."),
]
ZoneOpt = Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="Of --cron; default UTC.")]


def batch(
    dataset: DatasetArg,
    out: OutOpt,
    robot: RobotOpt = None,
    kind: KindOpt = None,
    camera: CameraOpt = None,
    weights: WeightsOpt = "default",
    masks: MasksOpt = None,
    view: ViewOpt = None,
    solve: SolveOpt = None,
    seed: SeedOpt = 0,
    workers: WorkersOpt = 1,
    runner: RunnerOpt = "local",
    address: AddressOpt = None,
    resource: ResourceOpt = None,
    time_limit: TimeOpt = None,
    memory_limit: MemoryOpt = None,
    retries: RetriesOpt = 2,
    limit: LimitOpt = None,
    retry_failed: RetryFailedOpt = False,
    verify: VerifyOpt = False,
    no_episode_reports: BareOpt = False,
    cron: CronOpt = None,
    timezone: ZoneOpt = None,
    no_prefect: NoPrefectOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Every episode of a data set as `urdfit run` does one: resumable, on many processes or a cluster, on a schedule.

    What is done is in DIR/manifest; the same command again does only what is missing or has changed. Exit code 1 where
    episodes failed in this run; DIR/dead_letters.csv names them, DIR/report.html shows the whole.
    """
    from flows.errors import UsageError

    options: dict[str, Any] = {
        "kind": kind, "camera": _plain(camera), "weights": weights, "masks": _plain(masks), "view": view,
        "solve": solve, "seed": seed, "workers": workers, "runner": runner, "address": address,
        "resources": _resources(resource), "time_limit": time_limit, "memory_limit": memory_limit, "retries": retries,
        "limit": limit, "retry_failed": retry_failed, "verify": verify, "episode_reports": not no_episode_reports,
    }  # fmt: skip
    if cron is not None:
        if no_prefect:
            raise UsageError("--cron needs Prefect; leave out --no-prefect")
        from flows.batch.schedule import serve_batch

        serve_batch(dataset, robot, out, cron, timezone, **options)
        return
    if timezone is not None:
        raise UsageError("--timezone belongs to --cron")
    from flows.batch.progress import batch_progress

    try:
        with batch_progress(quiet):
            told = _run_batch(no_prefect, dataset, robot, out, **options)
    except KeyboardInterrupt:
        typer.echo("urdfit: interrupted; nothing done is lost, the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    if not quiet:
        show_batch(told)
    if told.failed or told.stopped:
        raise typer.Exit(1)


def _run_batch(no_prefect: bool, dataset: str, robot: str | None, out: Path, **options: Any) -> BatchReport:
    """`run_batch`: as a Prefect flow, or without Prefect when asked to or when there is nothing to do."""
    from flows.batch import run
    from flows.errors import FlowError

    if no_prefect:
        return run.run_batch(dataset, robot, out, **options)
    told = run.run_if_done(dataset, robot, out, **options)
    if told is not None:
        return told
    if not os.environ.get("URDFIT_DEBUG"):  # our own bar and one-line errors say it all
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    import flows

    try:
        return flows.run_batch(dataset, robot, out, **options)
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise FlowError(f"no Prefect server answers ({error}); start it, or add --no-prefect") from None


def show_batch(told: BatchReport) -> None:
    """How a run ended, in a terminal."""
    if told.changed:
        typer.echo(f"{told.changed} episodes were done before with other settings, code or files, and were done again")
    for note in told.notes:
        typer.echo(f"note: {_line(note)}")
    typer.echo(told.summary())
    for cause, count in list(told.causes.items())[:5]:
        typer.echo(f"  {count} x {_line(cause)}")
    for id, error in told.failures[:3]:
        typer.echo(f"  {_line(id)}: {_line(error)}")
    if told.failed:
        typer.echo(f"failures: {told.out / 'dead_letters.csv'} (--retry-failed tries them again)")
    typer.echo(f"report: {told.out / 'report.html'}")


def _line(text: str) -> str:
    """Text from outside on one line, without control characters."""
    return "".join(c if c.isprintable() else "�" for c in text)[:300]


def _plain(path: Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _resources(entries: list[str] | None) -> dict[str, float]:
    from flows.errors import UsageError

    found = {}
    for entry in entries or ():
        name, _, amount = entry.partition("=")
        try:
            found[name] = float(amount)
        except ValueError:
            raise UsageError(f"--resource {entry}: expected NAME=AMOUNT, as in GPU=1") from None
    return found
