"""`run_batch` without Prefect: checks what is asked, picks who does the work, and writes what people read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from flows.batch.batch import Batch, BatchReport, carry_out
from flows.batch.executor import Executor, Limits, Settings
from flows.errors import FlowError, UsageError
from flows.job import parse_solve, robot_of
from flows.run import check_writable

RUNNERS = ("local", "dask", "ray")


def run_batch(
    dataset: str | Path,
    robot: str | Path | None,
    out: str | Path,
    *,
    kind: str | None = None,
    camera: str | Path | dict[str, Any] | None = None,
    weights: str = "default",
    masks: str | Path | None = None,
    solve: str | list[str] | None = None,
    seed: int = 0,
    view: str | None = None,
    episode_reports: bool = True,
    workers: int = 1,
    runner: str = "local",
    address: str | None = None,
    resources: Mapping[str, float] | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    retries: int = 2,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: bool = False,
) -> BatchReport:
    """Do all episodes of a data set that are not done yet, and write `report.html` and `dead_letters.csv`.

    Args:
        dataset: what `flows.datasets.open_dataset` takes: a folder, a URL, an episodes.csv. kind: its format.
        robot: as for `run_episode`; None = what the data set says of each episode.
        out: the batch's folder, see `flows.batch.batch`. The same call again does only what is missing.
        camera: cam.json (or its content) for all views; None = what the data set knows of each.
        weights, solve, seed: as for `run_episode`.
        masks: folder with a folder of masks an episode, named as its folder in out/episodes.
        view: name of the camera to use; None = the first of each episode.
        episode_reports: write overlay, report and recording of each episode as well.
        workers: processes at a time. runner: local, or dask / ray: on the cluster at `address`, or one made here.
        resources: of a cluster's worker that an episode needs, as in {"GPU": 1}.
        time_limit, memory_limit: of an attempt, in seconds, and in GB of the worker's resident memory.
        retries: further attempts at what may pass: lost workers, errors of disk and network.
        limit: only the first so many episodes of the data set.
        retry_failed: try what failed in earlier runs. verify: hash what is done too, and redo what has changed.

    Raises:
        UsageError: an argument that cannot be.
        FlowError, RobotError, WeightsError, CameraError: what concerns the whole batch, not an episode.
    """
    batch = make_batch(
        dataset, robot, out, kind=kind, camera=camera, weights=weights, masks=masks, solve=solve, seed=seed, view=view,
        episode_reports=episode_reports, time_limit=time_limit, memory_limit=memory_limit, retries=retries,
        limit=limit, retry_failed=retry_failed, verify=verify,
    )  # fmt: skip
    make = executor_maker(batch, workers, runner, address, resources)
    return finish(carry_out(batch, make))


class _WorkLeft(Exception):
    """There are episodes to be done."""


def run_if_done(
    dataset: str | Path,
    robot: str | Path | None,
    out: str | Path,
    *,
    workers: int = 1,
    runner: str = "local",
    address: str | None = None,
    resources: Mapping[str, float] | None = None,
    **options: Any,
) -> BatchReport | None:
    """`run_batch` where nothing is left to do, else None: finding that out takes less time than starting Prefect."""
    batch = make_batch(dataset, robot, out, **options)
    executor_maker(batch, workers, runner, address, resources)

    def refuse() -> Executor:
        raise _WorkLeft

    with suppress(_WorkLeft):
        return finish(carry_out(batch, refuse))
    return None


def make_batch(
    dataset: str | Path,
    robot: str | Path | None,
    out: str | Path,
    *,
    kind: str | None = None,
    camera: str | Path | dict[str, Any] | None = None,
    weights: str = "default",
    masks: str | Path | None = None,
    solve: str | list[str] | None = None,
    seed: int = 0,
    view: str | None = None,
    episode_reports: bool = True,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    retries: int = 2,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: bool = False,
) -> Batch:
    """Check the arguments of `run_batch` before any work; raises what it raises."""
    from pose.camera import Camera

    for name, value in (("time limit", time_limit), ("memory limit", memory_limit), ("limit", limit)):
        if value is not None and not value > 0:
            raise UsageError(f"the {name} must be positive, got {value}")
    if retries < 0:
        raise UsageError(f"retries must not be negative, got {retries}")
    if robot is not None and str(robot) != "auto":
        robot_of(_absolute(robot))
    if masks is not None and not Path(masks).is_dir():
        raise FlowError(f"{masks}: no such folder of masks")
    if camera is not None:
        camera = (Camera.from_dict(camera) if isinstance(camera, dict) else Camera.load(camera)).to_dict()
    folder = Path(out).absolute()
    if os.path.isdir(dataset) and folder.resolve().is_relative_to(Path(dataset).resolve()):
        raise UsageError(f"--out {out}: lies in the data set, which would then find its own results; give another")
    check_writable(folder)
    settings = Settings(
        camera=camera,
        weights=_absolute(weights) if os.path.isfile(weights) else str(weights),
        masks=None if masks is None else os.path.abspath(masks),
        solve=parse_solve(solve),
        seed=seed,
        view=view,
        report=episode_reports,
    )
    return Batch(
        dataset=_absolute(str(dataset).rstrip("/") or "/"),
        kind=kind,
        robot=None if robot is None else _absolute(robot),
        out=folder,
        settings=settings,
        limits=Limits(time_limit, memory_limit),
        limit=limit,
        retries=retries,
        retry_failed=retry_failed,
        verify=verify,
    )


def executor_maker(
    batch: Batch,
    workers: int = 1,
    runner: str = "local",
    address: str | None = None,
    resources: Mapping[str, float] | None = None,
) -> Callable[[], Executor]:
    """What makes the executor once there is something to do.

    Raises:
        UsageError: an unknown runner, or options that it does not have.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    if runner not in RUNNERS:
        raise UsageError(f"--runner {runner}: expected {', '.join(RUNNERS)}")
    if runner == "local":
        if address is not None or resources:
            raise UsageError("--address and --resource belong to --runner dask or ray")
        from flows.batch.local import LocalExecutor

        return lambda: LocalExecutor(workers, logs=batch.out / "logs")

    def make() -> Executor:
        if runner == "dask":
            from flows.batch.dask_runner import DaskExecutor

            return DaskExecutor(address, workers, resources=dict(resources or {}))
        from flows.batch.ray_runner import RayExecutor

        return RayExecutor(address, workers, resources=dict(resources or {}))

    return make


def finish(told: BatchReport) -> BatchReport:
    """Write what people read; a full disk keeps it from being written, nothing else."""
    from flows.batch.report import write_batch_report, write_dead_letters

    with suppress(FlowError) if told.stopped else nullcontext():
        write_dead_letters(told.out)
        write_batch_report(told.out)
    return told


def _absolute(path: str | Path) -> str:
    """Local paths absolute; URLs and names of the catalogue as they are."""
    return os.path.abspath(path) if os.path.exists(path) else str(path)
