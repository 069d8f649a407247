"""Episodes on the machines of a cluster, each a Prefect task there; Dask and Ray differ only in how they start.

A worker of the cluster does not do the work itself: it has a child process for that, as a local batch has, so that
models are loaded once, limits of time and memory hold, and a crash costs one episode and not the worker. The data set,
the output folder and the catalogue's robots must be at the same paths on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import State
from prefect.task_runners import TaskRunner

from flows.batch.executor import KILLED, EpisodeTask, Outcome
from flows.errors import FlowError, UsageError

MOST_LOST = 10  # episodes in a row, before a cluster is taken to be gone
START = 180  # seconds that the embedded server may take on a busy machine


@task(name="episode", task_run_name="{episode.id}", cache_policy=NO_CACHE, persist_result=False)
def do(episode: EpisodeTask, threads: int, work: str) -> State:
    """One attempt at an episode, in a child process of the cluster's worker that this runs in.

    It travels by value, with all that its text names: so it names nothing of this module.
    """
    from prefect.states import Completed, Failed

    from flows.batch.executor import DONE
    from flows.batch.local import run_limited

    outcome = run_limited(episode, threads, work)
    if outcome.status == DONE:
        return Completed(message=f"{outcome.total:.1f} s", data=outcome)
    return Failed(message=f"{outcome.status}: {outcome.error}", data=outcome)


class ClusterExecutor:
    """An `Executor` over a Prefect task runner.

    Attributes:
        slots: tasks to have submitted at a time: twice what the cluster can do at once, so that no worker waits.
    """

    def __init__(self, runner: TaskRunner[Any], threads: int, work: str) -> None:
        """`threads`: for the libraries of each child process; `work`: see `flows.batch.local.LocalExecutor`."""
        self._start(threads, work)
        self._open.enter_context(_one_server())
        self._runner = self._open.enter_context(runner)

    def _start(self, threads: int, work: str) -> None:
        self.slots = 2
        self._threads, self._work = threads, work
        self._futures: dict[Any, tuple[EpisodeTask, PrefectFuture[Outcome]]] = {}
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._lost = 0  # episodes in a row
        self._open = ExitStack()

    def submit(self, task: EpisodeTask) -> None:
        """Hand over a task; returns at once.

        Raises:
            FlowError: the cluster is gone, so that no other episode could be done either.
        """
        if self._lost >= max(MOST_LOST, 3 * self.slots):
            raise FlowError(f"the cluster lost the last {self._lost} episodes; look at it, then run the batch again")
        try:
            future = self._send(task)
        except Exception as error:
            raise FlowError(f"the cluster takes no episodes any more ({_line(error)}); run the batch again") from error
        key = future.task_run_id
        self._futures[key] = task, future
        future.add_done_callback(lambda _: self._done.put(key))

    def _send(self, task: EpisodeTask) -> PrefectFuture[Outcome]:
        return self._runner.submit(do, {"episode": task, "threads": self._threads, "work": self._work})

    def results(self) -> Iterator[Outcome]:
        """Outcomes as they come; ends when none is outstanding."""
        while self._futures:
            task, future = self._futures.pop(self._done.get())
            try:
                found: Any = future.result(raise_on_failure=False)
            except Exception as error:  # whatever a cluster throws: a lost worker, a lost connection
                found = error
            outcome = found if isinstance(found, Outcome) else _lost(task, found)
            self._lost = 0 if outcome is found else self._lost + 1
            yield outcome

    def close(self) -> None:
        """Let go of the cluster: what waits there is dropped, one made here ends with all that it does."""
        self._open.close()


def _lost(task: EpisodeTask, reason: Any) -> Outcome:
    error = f"lost on the cluster ({_line(reason)})"
    return Outcome(task.id, KILLED, error, "lost on the cluster", True, attempt=task.attempt)


def _line(error: Any) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _one_server() -> ExitStack:
    """Let all workers report to one Prefect server: without $PREFECT_API_URL each would start its own.

    The embedded server listens on this machine's loopback, so workers on other machines need a real one.
    """
    stack = ExitStack()
    if not get_current_settings().api.url:
        from prefect.server.api.server import SubprocessASGIServer  # slow to import

        server = SubprocessASGIServer()
        server.start(timeout=START)
        stack.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))
    return stack


def check_resources(resources: dict[str, float] | None) -> dict[str, float]:
    """What an episode needs of a worker, by name.

    Raises:
        UsageError: a name that is empty, or an amount that is not positive.
    """
    for name, amount in (resources or {}).items():
        if not name or not amount > 0:
            raise UsageError(f"--resource {name}={amount}: expected NAME=AMOUNT with a positive amount, as in GPU=1")
    return dict(resources or {})
