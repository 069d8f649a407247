"""Worker processes on this machine: one thread each that feeds and watches it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from flows.batch.executor import EpisodeTask, Outcome
from flows.batch.supervise import WORK, Supervised


class LocalExecutor:
    """N supervised processes, each started when its first task comes and kept for the next.

    Args:
        workers: how many.
        threads: for the libraries of each; None = the machine's cores shared out.
        work: "module:function" that does a task.
        logs: folder for what the processes print.
    """

    def __init__(
        self, workers: int = 1, threads: int | None = None, work: str = WORK, logs: Path | None = None
    ) -> None:
        share = threads or max(1, cores() // workers)
        self.slots = workers + 1  # one waits, so that nobody waits for it
        self._tasks: queue.SimpleQueue[EpisodeTask | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._outstanding = 0
        self._closed = False
        self._crew = [
            Supervised(work, share, None if logs is None else logs / f"worker-{number}.log")
            for number in range(workers)
        ]
        self._threads = [threading.Thread(target=self._serve, args=(one,), daemon=True) for one in self._crew]
        for thread in self._threads:
            thread.start()

    def submit(self, task: EpisodeTask) -> None:
        """Hand over a task; returns at once."""
        self._outstanding += 1
        self._tasks.put(task)

    def results(self) -> Iterator[Outcome]:
        """Outcomes as they come; ends when none is outstanding."""
        while self._outstanding:
            outcome = self._outcomes.get()
            self._outstanding -= 1
            yield outcome

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._closed = True
        for worker, thread in zip(self._crew, self._threads):
            self._tasks.put(None)
            worker.stop()
            thread.join(10.0)

    def _serve(self, worker: Supervised) -> None:
        while not self._closed and (task := self._tasks.get()) is not None:
            self._outcomes.put(worker.run(task))
        worker.stop()


_lent: queue.SimpleQueue[Supervised] = queue.SimpleQueue()


def run_limited(task: EpisodeTask, threads: int | None = None, work: str = WORK) -> Outcome:
    """Do a task within its limits in a process that this one keeps for the next; from any thread.

    What a cluster's worker calls: as many processes come to be as threads call at a time.
    """
    try:
        worker = _lent.get_nowait()
    except queue.Empty:
        worker = Supervised(work, threads)
    try:
        return worker.run(task)
    finally:
        _lent.put(worker)


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
