"""A batch: every episode of a data set, each once. Plans, keeps an executor busy, and records what becomes of it.

    out/batch.json                what the batch is, and how its last run ended
    out/manifest/*.parquet        every attempt: the source of truth, see `flows.batch.manifest`
    out/episodes/<name>/          episode folders as `urdfit run` writes them
    out/work/<name>/              finished stages of episodes that are not finished
    out/dead_letters.csv          episodes that failed, and why
    out/report.html, out/logs/    for people

Only this process writes the manifest. A row is written when its episode's folder is in place, and the stages in work/
are removed after that: killed at any moment, a batch loses at most the stages under way.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.batch.drive import Drive
from flows.batch.executor import NO_LIMITS, EpisodeTask, Executor, Limits, Settings
from flows.batch.manifest import Manifest
from flows.batch.plan import EPISODES, Counts, batch_key, remaining, standings
from flows.datasets import open_dataset
from flows.errors import FlowError
from flows.files import read_json, write_json
from flows.store import version

STATE = "batch.json"


@dataclass(frozen=True)
class BatchReport:
    """How a run of a batch ended.

    Attributes:
        out: the batch's folder.
        total: episodes in the data set. before: of them done in earlier runs. passed: failed in earlier runs.
        changed: of the others those that had been done with other settings, other code or other files.
        done, failed: episodes of this run. retried: further attempts at them.
        causes: failures of this run by what they have in common. failures: (id, error) of the first few.
        seconds: that it took. stopped: why it ended early, "" if it did not.
        notes: what else is to be said.
    """

    out: Path
    total: int
    before: int
    passed: int
    changed: int
    done: int
    failed: int
    retried: int
    causes: dict[str, int] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    stopped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Episodes that are still to be done."""
        return self.total - self.before - self.passed - self.done - self.failed

    def summary(self) -> str:
        """One line."""
        parts = [f"{self.done} done", f"{self.failed} failed"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.passed} failed before"] if self.passed else []
        parts += [f"{self.left} left"] if self.left else []
        return f"{', '.join(parts)} of {self.total} episodes in {self.seconds:.0f} s" + (
            f"; stopped: {self.stopped}" if self.stopped else ""
        )


@dataclass(frozen=True)
class Batch:
    """What is to be done, checked.

    Attributes:
        dataset: path or URL. kind: of its format, None = found out. robot: None = what the data set says.
        out: folder to write. limit: only the first so many episodes. retries: further attempts where worth it.
        retry_failed: try again what failed before. verify: look at what is done too, and redo what has changed.
    """

    dataset: str
    kind: str | None
    robot: str | None
    out: Path
    settings: Settings = field(default_factory=Settings)
    limits: Limits = NO_LIMITS
    limit: int | None = None
    retries: int = 2
    retry_failed: bool = False
    verify: bool = False


def carry_out(batch: Batch, make_executor: Callable[[], Executor]) -> BatchReport:
    """Run a batch: what remains of it.

    Args:
        make_executor: called once there is something to do; closed at the end.

    Raises:
        FlowError: the data set cannot be read, the folder is another batch's or in use.
    """
    start = time.monotonic()
    key = batch_key(batch.robot, batch.settings)
    _check_folder(batch)
    dataset = open_dataset(batch.dataset, batch.kind)
    manifest = Manifest(batch.out / "manifest")
    damaged = manifest.lock()
    executor: Executor | None = None
    run = Drive(manifest, batch.out, batch.retries)
    template = EpisodeTask("", batch.dataset, batch.kind, batch.robot, "", "", batch.settings, key, batch.limits)
    try:
        _write_state(batch, key, None)
        _remove_half_written(batch.out / EPISODES)
        counts = Counts()
        options = {"limit": batch.limit, "retry_failed": batch.retry_failed, "verify": batch.verify}
        todo = list(remaining(dataset, standings(manifest), batch.out, key, counts, **options))  # type: ignore[arg-type]
        run.notes += [f"{n} of the manifest was damaged and is set aside" for n in damaged]
        run.notes += [f"episode {n} has an id that is no text; it cannot be done" for n in counts.unusable]
        if todo:
            executor = make_executor()
            run.work(executor, template, todo)
    finally:
        if executor is not None:
            executor.close()
        manifest.close()
    told = BatchReport(
        out=batch.out,
        total=counts.total,
        before=counts.done,
        passed=counts.failed + len(counts.unusable),
        changed=counts.changed,
        done=run.done,
        failed=run.failed,
        retried=run.retried,
        causes=dict(run.causes.most_common()),
        failures=tuple(run.failures),
        seconds=time.monotonic() - start,
        stopped=run.stopped,
        notes=tuple(run.notes),
    )
    with suppress(FlowError) if run.stopped else nullcontext():  # a full disk takes no summary either
        _write_state(batch, key, told)
    return told


def _check_folder(batch: Batch) -> None:
    """Raises FlowError where the folder holds something else, or the batch of another data set."""
    out = batch.out
    if out.exists() and not out.is_dir():
        raise FlowError(f"{out}: is a file; give a folder for the batch")
    if not (out / STATE).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise FlowError(f"{out}: holds other files and no batch; give a new or an empty folder")
        return
    state = read_json(out / STATE, "batch")
    of = state.get("dataset") if isinstance(state, dict) else None
    if of != batch.dataset:
        raise FlowError(f"{out}: holds the batch of {of}; give another --out for {batch.dataset}")


def _remove_half_written(episodes: Path) -> None:
    """What a killed run was about to put in place; nobody else writes here now."""
    for entry in episodes.glob(".*.tmp"):
        shutil.rmtree(entry, ignore_errors=True)


def _write_state(batch: Batch, key: str, told: BatchReport | None) -> None:
    """`batch.json`: with `told` None a run that has begun."""
    values = asdict(batch) | {"key": key, "urdfit": version(), "process": os.getpid(), "written": time.time()}
    values["last_run"] = None if told is None else asdict(told) | {"left": told.left}
    write_json(batch.out / STATE, values)
