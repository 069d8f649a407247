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
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from flows.batch.executor import DONE, RETRY, Settings
from flows.batch.manifest import Manifest
from flows.datasets import Dataset
from flows.files import sha256_json
from flows.store import code_version

# What results depend on; a change of how things are drawn redoes no episode.
CODE = code_version(
    "urdf", "segmentation", "pose", "flows/segmenting.py", "flows/identification.py", "flows/stages.py",
    "flows/fit_files.py", "flows/actions.py", "flows/episode.py", "flows/datasets",
)  # fmt: skip
EPISODES = "episodes"  # folder of the episodes' folders
WIDEST = 80  # characters of an id kept in a folder's name


@dataclass(frozen=True)
class Standing:
    """How an episode stands in the manifest."""

    status: str
    key: str
    stamp: str | None


def batch_key(robot: str | None, settings: Settings) -> str:
    """Hash of robot, settings and code: what is the same for all episodes. Of files the content counts."""
    from flows.job import robot_of
    from flows.stages import robot_hash
    from segmentation.weights_store import content_hash, find

    values: dict[str, Any] = asdict(settings) | {"robot": robot, "code": CODE}
    values["weights"] = None if settings.masks else content_hash(find(settings.weights))
    if robot not in (None, "auto"):
        values["robot"] = robot_hash(robot_of(str(robot)))
    return sha256_json(values)[:32]


def standings(manifest: Manifest) -> dict[str, Standing]:
    """How every episode stands, by id."""
    rows = manifest.latest(["status", "key", "stamp"])
    return {row["id"]: Standing(row["status"], row["key"], row["stamp"]) for row in rows}


@dataclass
class Counts:
    """What planning has seen: done before, failed before, and to be done because settings or files have changed."""

    total: int = 0
    done: int = 0
    failed: int = 0
    changed: int = 0
    unusable: list[str] = field(default_factory=list)  # ids that are no text


def remaining(
    dataset: Dataset,
    known: dict[str, Standing],
    out: Path,
    key: str,
    counts: Counts,
    *,
    limit: int | None = None,
    retry_failed: bool = False,
    verify: bool = False,
) -> Iterator[tuple[str, str | None]]:
    """(id, stamp) of the episodes that are to be done, in the data set's order.

    Args:
        known: see `standings`.
        counts: filled on the way.
        limit: look only at the first so many episodes of the data set.
        retry_failed: take those that failed before as well.
        verify: take what is done as well; the worker does again only what has changed.
    """
    present = _names(out / EPISODES)
    for id in islice(dataset.ids(), limit):
        counts.total += 1
        if not _is_text(id):
            counts.unusable.append(ascii(id))
            continue
        before, stamp = known.get(id), dataset.stamp(id)
        if before is not None and before.status != RETRY:
            same = before.key == key and before.stamp == stamp
            if before.status == DONE and same and safe_name(id) in present and not verify:
                counts.done += 1
                continue
            if before.status != DONE and same and not retry_failed:
                counts.failed += 1
                continue
            counts.changed += before.status == DONE and not same
        yield id, stamp


def _is_text(id: str) -> bool:
    try:
        return bool(id.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def safe_name(id: str) -> str:
    """A folder's name for an id, one for one: readable, without separators, never hidden, at most 97 characters."""
    name = re.sub(r"[^\w.-]+", "_", id, flags=re.ASCII)[:WIDEST]
    if name == id and not id.startswith("."):
        return name
    return f"{name.lstrip('.') or 'episode'}-{hashlib.sha256(id.encode()).hexdigest()[:16]}"


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
