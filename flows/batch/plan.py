"""Which episodes are to be done: those of the data set without those that the manifest knows as done.

Planning opens no video. What is done stays done while three things are what they were: the key (settings and code),
the stamp (size and time of the files, where the data set can tell them cheaply), and the episode's folder. Otherwise it
becomes a task, and the worker, who hashes the content first, redoes it only if the key or the content has changed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from flows.batch.executor import DONE, NO_LIMITS, EpisodeTask, Limits, Settings, episode_folder
from flows.batch.manifest import Manifest
from flows.datasets import Dataset
from flows.errors import UsageError
from flows.files import sha256_json
from flows.store import code_version

# What results depend on; a change of how things are drawn redoes no episode.
CODE = code_version(
    "urdf", "segmentation", "pose", "flows/segmenting.py", "flows/identification.py", "flows/stages.py",
    "flows/fit_files.py", "flows/actions.py", "flows/episode.py", "flows/datasets",
)  # fmt: skip
WIDEST = 80  # characters of an id kept in a folder's name


@dataclass(frozen=True)
class Standing:
    """How an episode stands in the manifest."""

    status: str
    key: str
    stamp: str | None


@dataclass(frozen=True)
class Planned:
    """A task and the stamp to record with its outcome."""

    task: EpisodeTask
    stamp: str | None


def batch_key(robot: str | None, settings: Settings) -> str:
    """Hash of robot, settings and code: what is the same for all episodes. Of files the content counts."""
    from segmentation.weights_store import content_hash, find

    values: dict[str, Any] = asdict(settings) | {"robot": robot, "code": CODE}
    values["weights"] = None if settings.masks else content_hash(find(settings.weights))
    if robot is not None and os.path.isfile(robot):
        values["robot"] = hashlib.sha256(Path(robot).read_bytes()).hexdigest()
    return sha256_json(values)[:32]


def standings(manifest: Manifest) -> dict[str, Standing]:
    """How every episode stands, by id."""
    rows = manifest.latest(["status", "key", "stamp"])
    return {row["id"]: Standing(row["status"], row["key"], row["stamp"]) for row in rows}


@dataclass
class Counts:
    """What planning has passed over so far."""

    done: int = 0
    failed: int = 0


def plan(
    dataset: Dataset,
    known: dict[str, Standing],
    *,
    source: str,
    kind: str | None,
    robot: str | None,
    out: Path,
    settings: Settings,
    key: str,
    limits: Limits = NO_LIMITS,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: bool = False,
    counts: Counts | None = None,
) -> Iterator[Planned]:
    """The tasks that remain, one by one, in the data set's order.

    Args:
        known: see `standings`.
        limit: look only at the first so many episodes of the data set.
        retry_failed: take those that failed under the same key as well.
        verify: hash what is done again, whatever its stamp says.
        counts: filled with what is passed over.
    """
    counts = counts if counts is not None else Counts()
    present = _names(episode_folder(out, ""))
    for id in islice(dataset.ids(), limit):
        name = safe_name(id)
        before = known.get(id)
        stamp = dataset.stamp(id)
        if before is not None and before.key == key:
            same = stamp == before.stamp and not (verify and before.status == DONE)
            if before.status == DONE and same and name in present:
                counts.done += 1
                continue
            if before.status != DONE and same and not retry_failed:
                counts.failed += 1
                continue
        task = EpisodeTask(
            id, source, kind, robot, str(episode_folder(out, name)), str(out / "work" / name), settings, key, limits
        )  # fmt: skip
        yield Planned(task, stamp)


def safe_name(id: str) -> str:
    """A folder's name for an id, one for one: readable, without separators, never hidden, at most 97 characters.

    Raises:
        UsageError: an empty id.
    """
    if not id:
        raise UsageError("an episode has an empty id; give every episode of the data set one")
    name = re.sub(r"[^\w.-]+", "_", id, flags=re.ASCII)[:WIDEST]
    if name == id and not id.startswith("."):
        return name
    return f"{name.lstrip('.') or 'episode'}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
