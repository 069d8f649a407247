"""The loop of a batch: keeps an executor's slots full, records outcomes, tries again what is worth it."""

from __future__ import annotations

import errno
import heapq
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.batch.executor import DISK, DONE, FAILED, RETRY, EpisodeTask, Executor, Outcome
from flows.batch.manifest import Manifest
from flows.batch.plan import EPISODES, safe_name
from flows.errors import FlowError
from flows.progress import report

BACKOFF = 2.0  # seconds before the second attempt; twice as long before each further one
LONGEST = 120.0  # seconds between two attempts
SHOWN = 20  # failures that are kept to be named
FULL = "the disk is full; nothing is lost: make room and run the same command again"


class Drive:
    """One run. Its counts are of episodes, each once, however many attempts they took.

    Attributes:
        done, failed: episodes. retried: further attempts. causes: failures by what they have in common.
        failures: (id, error) of the first of them. stopped: why it ended early. notes: what else is to be said.
    """

    def __init__(self, manifest: Manifest, out: Path, retries: int) -> None:
        self.done = self.failed = self.retried = 0
        self.causes: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.stopped = ""
        self.notes: list[str] = []
        self._manifest, self._out, self._retries = manifest, out, retries
        self._flying: dict[str, tuple[EpisodeTask, str | None]] = {}  # submitted, with stamps
        self._later: list[tuple[float, int, EpisodeTask, str | None]] = []  # (moment, number, ...), a heap

    def work(self, executor: Executor, template: EpisodeTask, todo: list[tuple[str, str | None]]) -> None:
        """Do all episodes (id, stamp): tasks like the template."""
        tasks = self._tasks(template, todo)
        report("episodes", 0, len(todo))
        while self._fill(executor, tasks):
            for outcome in executor.results():
                self._take(outcome)
                if self.stopped:
                    return
                report("episodes", self.done + self.failed, len(todo))
                self._fill(executor, tasks)
            if self._later:
                time.sleep(max(0.0, self._later[0][0] - time.monotonic()))

    def _tasks(
        self, template: EpisodeTask, todo: list[tuple[str, str | None]]
    ) -> Iterator[tuple[EpisodeTask, str | None]]:
        for id, stamp in todo:
            name = safe_name(id)
            out, work = self._out / EPISODES / name, self._out / "work" / name
            yield replace(template, id=id, out=str(out), work=str(work)), stamp

    def _fill(self, executor: Executor, tasks: Iterator[tuple[EpisodeTask, str | None]]) -> bool:
        """Submit what the executor has slots for; is anything submitted or waiting?"""
        while len(self._flying) < executor.slots:
            if self._later and self._later[0][0] <= time.monotonic():
                task, stamp = heapq.heappop(self._later)[2:]
            else:
                following = next(tasks, None)
                if following is None:
                    break
                task, stamp = following
            self._flying[task.id] = task, stamp
            executor.submit(task)
        return bool(self._flying or self._later)

    def _take(self, outcome: Outcome) -> None:
        """Record an outcome, or try again later."""
        found = self._flying.pop(outcome.id, None)
        if found is None:
            return  # told twice, by a cluster that lost its patience
        task, stamp = found
        if outcome.status == DISK:
            self.stopped = FULL
            return
        again = outcome.retry and task.attempt <= self._retries
        try:
            self._manifest.append(_row(outcome, task, stamp, RETRY if again else outcome.status))
        except FlowError as error:
            if not _is_full(error):
                raise
            self.stopped = FULL
            return
        if again:
            self.retried += 1
            wait = min(BACKOFF * 2 ** (task.attempt - 1), LONGEST)
            entry = time.monotonic() + wait, self.retried, replace(task, attempt=task.attempt + 1), stamp
            heapq.heappush(self._later, entry)
            return
        if outcome.status in (DONE, FAILED):  # others may go on from their stages when they are tried again
            shutil.rmtree(task.work, ignore_errors=True)
        self.done += outcome.status == DONE
        if outcome.status != DONE:
            self.failed += 1
            self.causes[outcome.cause] += 1
            if len(self.failures) < SHOWN:
                self.failures.append((outcome.id, outcome.error))


def _row(outcome: Outcome, task: EpisodeTask, stamp: str | None, status: str) -> dict[str, Any]:
    """A row of the manifest."""
    return {
        "id": outcome.id,
        "status": status,
        "attempt": task.attempt,
        "key": task.key,
        "content": outcome.content,
        "stamp": stamp,
        "folder": f"{EPISODES}/{Path(task.out).name}",
        "error": outcome.error,
        "cause": outcome.cause,
        "frames": int(outcome.quality["frames"]) if "frames" in outcome.quality else None,
        **{name: outcome.quality.get(name) for name in ("mean_iou", "lowest_iou", "valid_fraction")},
        "total_s": outcome.total,
        "stages_s": outcome.seconds,
        "peak_mb": outcome.peak_mb,
        "rss_mb": outcome.rss_mb,
        "worker": outcome.worker,
        "digest": outcome.digest,
        "started": outcome.started,
    }


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
