"""Worker processes on this machine: a pool of them, and an executor with a thread for each."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from flows.batch.executor import EpisodeTask, Outcome
from flows.batch.supervise import WORK, Supervised


class Pool:
    """N supervised processes, each started when it is first needed and kept.

    Args:
        workers: how many.
        threads: for the libraries of each; None = as $OMP_NUM_THREADS says, else the machine's cores shared out.
        work: "module:function" that does a task.
        logs: folder for what the processes print.
    """

    def __init__(
        self, workers: int = 1, threads: int | None = None, work: str = WORK, logs: Path | None = None
    ) -> None:
        self.workers = workers
        share = threads or _told_threads() or max(1, cores() // workers)
        self._crew = [
            Supervised(work, share, None if logs is None else logs / f"worker-{number}.log")
            for number in range(workers)
        ]
        self._free: queue.LifoQueue[Supervised] = queue.LifoQueue()
        for worker in reversed(self._crew):
            self._free.put(worker)

    def run(self, task: EpisodeTask) -> Outcome:
        """Do a task within its limits, once a process is free; from any thread."""
        worker = self._free.get()
        try:
            return worker.run(task)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes, whatever they are doing: tasks under way come out as KILLED."""
        for worker in self._crew:
            worker.stop()


class LocalExecutor:
    """A pool's processes as an executor; arguments as of `Pool`."""

    def __init__(
        self, workers: int = 1, threads: int | None = None, work: str = WORK, logs: Path | None = None
    ) -> None:
        self.slots = workers + 1  # one waits, so that nobody waits for it
        self._pool = Pool(workers, threads, work, logs)
        self._tasks: queue.SimpleQueue[EpisodeTask | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._outstanding = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
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
        self._pool.close()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(10.0)

    def _serve(self) -> None:
        while not self._closed and (task := self._tasks.get()) is not None:
            self._outcomes.put(self._pool.run(task))


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


def _told_threads() -> int | None:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
