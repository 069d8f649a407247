"""A batch that runs again and again: a deployment on a running Prefect server, served by this process.

Each firing is a process of its own that runs the batch; the batch's manifest makes it do only what is new. The
server fires no second run while one is running (limit 1, the new one is cancelled), and the manifest's lock keeps out
whatever the server does not know. Schedules live on the server: they outlast this process, which may be started again
at any time and then goes on with the same deployment.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import flow, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import EntrypointType
from prefect.schedules import Cron, Schedule
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Crashed, State

from flows.batch.manifest import Manifest
from flows.errors import FlowError, UsageError

NO_SERVER = (
    "--cron needs a running Prefect server: start one with `prefect server start`, then "
    "`export PREFECT_API_URL=http://127.0.0.1:4200/api` here"
)


@flow(name="urdfit-scheduled-batch", flow_run_name="{out}", validate_parameters=False)
def scheduled_batch(dataset: str, robot: str | None, out: str, options: dict[str, Any] | None = None) -> State:
    """One firing: run the batch over what is new. Failed episodes are in its report and do not fail the run.

    Args:
        options: the other arguments of `flows.run_batch`, as JSON values.
    """
    import flows  # what it imports is wanted only where there is something to do

    if Manifest(Path(out) / "manifest").busy():
        return Cancelled(message="another batch is writing there")
    report = flows.run_batch(dataset, robot, out, **(options or {}))
    return Completed(message=report.summary())


def serve_batch(
    dataset: str | Path,
    robot: str | Path | None,
    out: str | Path,
    cron: str,
    timezone: str | None = None,
    **options: Any,
) -> None:
    """Serve a schedule of a batch on the server of $PREFECT_API_URL until interrupted.

    Args:
        dataset, robot, out: as for `flows.run_batch`; local paths are made absolute.
        cron: five fields: minute, hour, day of the month, month, day of the week.
        timezone: the cron's, as in "Europe/Berlin"; None = UTC.
        options: the other arguments of `flows.run_batch`, as JSON values.

    Raises:
        UsageError: no such cron or time zone.
        FlowError: no server answers.
    """
    schedule = check_schedule(cron, timezone)
    check_server()
    name = deployment_name(out)
    release_lost_runs(name, Path(out))
    scheduled_batch.serve(
        name,
        schedule=schedule,
        parameters={
            "dataset": _absolute(dataset),
            "robot": None if robot is None else _absolute(robot),
            "out": os.path.abspath(out),
            "options": options,
        },
        global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
        description=f"Episodes of {dataset} into {out}",
    )


def check_schedule(cron: str, timezone: str | None = None) -> Schedule:
    """The schedule, checked.

    Raises:
        UsageError: no such cron or time zone.
    """
    try:
        CronSchedule(cron=cron)
    except ValueError:
        raise UsageError(
            f"--cron {cron!r}: expected five fields: minute hour day month weekday, as in '*/15 * * * *'"
        ) from None
    zone = timezone or "UTC"
    try:
        CronSchedule(cron=cron, timezone=zone)
    except ValueError:
        raise UsageError(f"--timezone {zone}: expected a name such as Europe/Berlin") from None
    return Cron(cron, timezone=zone)


def check_server() -> str:
    """The URL of the Prefect server, once it has answered.

    Raises:
        FlowError: none is set, or it does not answer.
    """
    url = get_current_settings().api.url
    if not url:
        raise FlowError(f"PREFECT_API_URL is not set; {NO_SERVER}")
    with get_client(sync_client=True, httpx_settings={"timeout": 10}) as client:
        problem = client.api_healthcheck()
    if problem is not None:
        raise FlowError(f"no Prefect server answers at {url} ({problem or type(problem).__name__}); {NO_SERVER}")
    return url


def deployment_name(out: str | Path) -> str:
    """The same for the same output folder, so that starting again goes on with the same deployment."""
    path = os.path.abspath(out)
    readable = re.sub(r"[^\w.-]+", "-", os.path.basename(path), flags=re.ASCII)[:40] or "batch"
    return f"{readable}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def release_lost_runs(name: str, out: Path) -> int:
    """Tell the server that runs of a deployment that were killed are over; returns how many.

    A run whose process was killed, or whose machine was lost, stays "Running" on the server and holds the deployment's
    one slot. While somebody writes the batch's manifest, a run may be alive, and nothing is done.
    """
    if Manifest(out / "manifest").busy():
        return 0
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
            ),
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message="its process ended without a word"))
    return len(runs)


def _absolute(path: str | Path) -> str:
    """Local paths absolute; URLs and names of the catalogue as they are."""
    return os.path.abspath(path) if os.path.exists(path) else str(path)
