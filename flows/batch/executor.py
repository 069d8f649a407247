"""What carries out the episodes of a batch: the tasks, what becomes of them, and the interface of all executors.

Tasks and outcomes are plain values, small and picklable: they cross processes and machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

DONE = "done"
FAILED = "failed"  # the episode's own fault: a damaged video, no robot in it
TIMEOUT, MEMORY = "timeout", "memory"  # over a limit
KILLED = "killed"  # its process ended: a crash, the system's memory guard, a lost machine
DISK = "disk"  # the disk is full: nothing is recorded, the batch stops
RETRY = "retry"  # failed, and tried again in the same run
STATUSES = (DONE, FAILED, TIMEOUT, MEMORY, KILLED, RETRY)  # of rows in the manifest


@dataclass(frozen=True)
class Settings:
    """How all episodes of a batch are handled; see `flows.job.Job` for the names it shares.

    Attributes:
        camera: content of a cam.json that holds for all; None = what the data set says of each view.
        masks: folder with one folder of masks an episode (named by id), used instead of the segmenter.
        view: which camera of an episode; None = its main one.
        report: whether each episode gets overlay, report and recording.
    """

    camera: dict[str, Any] | None = None
    weights: str = "default"
    masks: str | None = None
    solve: tuple[str, ...] | None = None
    seed: int = 0
    view: str | None = None
    report: bool = True


@dataclass(frozen=True)
class Limits:
    """What one attempt at an episode may use: seconds, and gigabytes of resident memory; None = no limit."""

    seconds: float | None = None
    gigabytes: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to be done.

    Attributes:
        id: of the episode in the data set.
        dataset, kind: what `flows.datasets.open_dataset` takes.
        robot: catalogue name or path; None = what the data set says of the episode.
        out: folder of the episode.
        work: folder for what is half done; an attempt goes on from what an earlier one left there.
        key: hash of settings and code, see `flows.batch.plan`.
        attempt: counts from 1.
    """

    id: str
    dataset: str
    kind: str | None
    robot: str | None
    out: str
    work: str
    settings: Settings
    key: str
    limits: Limits = NO_LIMITS
    attempt: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        status: one of STATUSES, or DISK.
        error: one line; "" when done. cause: what errors are grouped by.
        retry: whether another attempt may end differently.
        seconds: by stage. total: seconds from start to end of the attempt, everything included.
        quality: frames, mean_iou, lowest_iou, valid_fraction where done.
        content: hash of all the result depends on in the data set. digest: hash of the trajectory.
        worker: which process did it. peak_mb: its resident memory at most, MiB. rss_mb: and afterwards.
        started: Unix time.
    """

    id: str
    status: str
    error: str = ""
    cause: str = ""
    retry: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    quality: dict[str, float] = field(default_factory=dict)
    content: str | None = None
    digest: str | None = None
    worker: str = ""
    peak_mb: float = 0.0
    rss_mb: float = 0.0
    started: float = 0.0
    attempt: int = 1


class Executor(Protocol):
    """Carries out tasks somewhere, several at a time.

    Attributes:
        slots: how many tasks are worth having submitted at a time; the driver keeps to it.
    """

    slots: int

    def submit(self, task: EpisodeTask) -> None:
        """Hand over a task; returns at once."""

    def results(self) -> Iterator[Outcome]:
        """Outcomes as they come, one for every task submitted, also while iterating; ends when none is outstanding.

        An executor never raises for the sake of one episode: a lost process or machine is an outcome (KILLED).
        """

    def close(self) -> None:
        """End what is running and let go of processes and connections; may be called twice."""
