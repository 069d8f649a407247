"""What the tests of batches share: a data set of names, and an executor that is this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_work import work

from flows.batch.batch import Batch
from flows.batch.executor import NO_LIMITS, EpisodeTask, Limits, Outcome, Settings


def make_folder(folder: Path, *names: str) -> Path:
    """A folder of "videos", which the work below never opens."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.mp4").write_bytes(name.encode())
    return folder


def make_batch(folder: Path, out: Path, **changes: object) -> Batch:
    """A batch over such a folder; masks, so that no weights are looked for."""
    values: dict = {"dataset": str(folder), "kind": "videos", "robot": None, "out": out} | changes
    return Batch(settings=Settings(masks="none"), **values)


def make_task(id: str, folder: Path, limits: Limits = NO_LIMITS, attempt: int = 1) -> EpisodeTask:
    """A task of that id."""
    return EpisodeTask(
        id, str(folder), "videos", None, str(folder / id), str(folder / "w"), Settings(), "key", limits, attempt
    )


@dataclass
class InLine:
    """An executor that does everything here and now."""

    slots: int = 2

    def __post_init__(self) -> None:
        self.tasks: list[EpisodeTask] = []
        self.submitted = 0
        self.most = 0
        self.closed = False

    def submit(self, task: EpisodeTask) -> None:
        self.tasks.append(task)
        self.submitted += 1
        self.most = max(self.most, len(self.tasks))

    def results(self) -> Iterator[Outcome]:
        while self.tasks:
            yield work(self.tasks.pop(0))

    def close(self) -> None:
        self.closed = True


def log_of(out: Path) -> list[str]:
    """Every attempt that was made, "ID ATTEMPT" each."""
    file = out.parent / f"{out.name}.log"
    return file.read_text().splitlines() if file.exists() else []
