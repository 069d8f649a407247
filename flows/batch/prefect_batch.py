"""A batch as a Prefect flow: a task an episode, and the result as artifacts.

The work is done in supervised child processes as without Prefect; a task only waits for one, so a lost process is a
failed task and nothing else. What is done is told by the manifest, not by Prefect's cache.
"""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# a slow machine needs more than Prefect's 20 s to start the embedded server
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.batch import run
from flows.batch.batch import BatchReport, carry_out
from flows.batch.executor import DONE, KILLED, EpisodeTask, Executor, Outcome
from flows.batch.local import Pool


@task(name="episode", task_run_name="{work.id}", cache_policy=NO_CACHE, persist_result=False)
def episode(work: EpisodeTask, do: Callable[[EpisodeTask], Outcome]) -> State:
    """One attempt at an episode; a failed one is a failed task, and the flow goes on."""
    outcome = do(work)
    if outcome.status == DONE:
        return Completed(message=f"{outcome.total:.1f} s")
    return Failed(message=f"{outcome.status}: {outcome.error}")


class PrefectExecutor:
    """A pool's worker processes, with a Prefect task around each attempt."""

    def __init__(self, pool: Pool) -> None:
        self.slots = pool.workers + 1
        self._pool = pool
        self._runner: ThreadPoolTaskRunner = ThreadPoolTaskRunner(max_workers=pool.workers).__enter__()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._outstanding = 0

    def submit(self, task: EpisodeTask) -> None:
        """Hand over a task; returns at once."""
        told: list[Outcome] = []

        def do(work: EpisodeTask) -> Outcome:
            told.append(self._pool.run(work))
            return told[0]

        def tell(future: Any) -> None:
            # without an outcome Prefect itself has failed: its server is gone
            lost = Outcome(task.id, KILLED, "Prefect could not run its task", "Prefect", True, attempt=task.attempt)
            self._outcomes.put(told[0] if told else lost)

        self._outstanding += 1
        self._runner.submit(episode, {"work": task, "do": do}).add_done_callback(tell)

    def results(self) -> Iterator[Outcome]:
        """Outcomes as they come; ends when none is outstanding."""
        while self._outstanding:
            outcome = self._outcomes.get()
            self._outstanding -= 1
            yield outcome

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._pool.close()
        self._runner.__exit__(None, None, None)


@flow(name="urdfit-batch", flow_run_name="{dataset}", validate_parameters=False, persist_result=False)
@wraps(run.run_batch)
def run_batch(
    dataset: str | Path,
    robot: str | Path | None,
    out: str | Path,
    *,
    workers: int = 1,
    runner: str = "local",
    address: str | None = None,
    resources: dict[str, float] | None = None,
    **options: Any,
) -> BatchReport:
    batch = run.make_batch(dataset, robot, out, **options)
    make = run.executor_maker(batch, workers, runner, address, resources)
    if runner == "local":

        def make() -> Executor:
            return PrefectExecutor(Pool(workers, logs=batch.out / "logs"))

    told = run.finish(carry_out(batch, make))
    _publish(told)
    return told


def _publish(told: BatchReport) -> None:
    """The result as artifacts of the flow run; a server that does not take them spoils no batch."""
    names = ("total", "before", "passed", "changed", "done", "failed", "retried", "left")
    rows: list[dict[str, Any]] = [{"episodes": name, "number": getattr(told, name)} for name in names]
    rows += [{"episodes": f"failed: {cause}", "number": count} for cause, count in told.causes.items()]
    try:
        create_table_artifact(rows, key="urdfit-batch", description=told.summary())
        create_link_artifact((told.out / "report.html").as_uri(), key="urdfit-batch-report", link_text="Report")
    except Exception as error:
        logging.getLogger(__name__).warning("the batch is done, but its artifacts could not be published: %s", error)
