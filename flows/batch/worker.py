"""What a worker does with one episode: hash its content, and run the job on it unless its folder holds just that.

Nothing that one episode does is raised: whatever happens is an outcome.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.batch.executor import DISK, DONE, FAILED, MEMORY, EpisodeTask, Outcome
from flows.dataset_view import DatasetView, find_episode, find_view, own_file, view_hash
from flows.errors import FlowError, user_errors
from flows.files import sha256_file, sha256_json, sha256_path, write_json
from flows.job import Job, make_job
from flows.run import check_out, run_job, run_stage
from flows.store import stored_in

RECEIPT = "outcome.json"  # in an episode's folder: what it was made from, and how that went
QUALITY = ("frames", "mean_iou", "lowest_iou", "valid_fraction")
FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM = 1 << 20  # bytes: a disk with less is full


def run_task(task: EpisodeTask) -> Outcome:
    """Do an episode in this process, without limits."""
    start = time.time()
    told: dict[str, Any] = {
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        "started": start,
        "attempt": task.attempt,
    }
    try:
        outcome = _run(task, told)
    except Exception as error:
        outcome = Outcome(task.id, **_verdict(error, task), **told)
    return Outcome(**_fields(outcome) | {"total": time.time() - start})


def _run(task: EpisodeTask, told: dict[str, Any]) -> Outcome:
    out = check_out(task.out)
    job = job_of(task)
    content = content_hash(job)
    before = read_receipt(out, task, content)
    if before is not None:
        return Outcome(**_fields(before) | told)
    with stored_in(Path(task.work)):
        run_job(job, out, run_stage, report=task.settings.report)
    outcome = _outcome(task, out, content, told)
    write_json(out / RECEIPT, {"key": task.key} | asdict(outcome))
    return outcome


def job_of(task: EpisodeTask) -> Job:
    """The job of a task, its input checked; raises what `make_job` and the data set's reader raise."""
    settings = task.settings
    episode = find_episode(task.dataset, task.kind, task.id)
    view = find_view(episode, settings.view)
    robot = task.robot or episode.robot
    if robot is None:
        raise FlowError(f"{task.id}: the data set does not say which robot it shows; give --robot")
    path = own_file(view)
    source = None
    if path is None:
        digest = view_hash(view)
        source = DatasetView(task.dataset, task.kind, task.id, view.name, digest)
    masks = None if settings.masks is None else Path(settings.masks) / Path(task.out).name
    return make_job(
        path or f"{task.dataset}/{task.id}",
        robot,
        camera=settings.camera if settings.camera is not None else view.camera,
        weights=settings.weights,
        masks=masks,
        solve=settings.solve,
        seed=settings.seed,
        source=source,
        task=episode.task,
    )


def content_hash(job: Job) -> str:
    """Hash of all that the result depends on in the data set: the pictures, the camera, and masks that are given."""
    masks = None if job.masks is None else sha256_path(job.masks)
    values = {"video": job.video_hash(), "robot": job.robot, "camera": job.camera, "masks": masks, "task": job.task}
    return sha256_json(values)


def read_receipt(out: Path, task: EpisodeTask, content: str) -> Outcome | None:
    """The outcome that made the episode in `out`, where it is of this key and content and the files are its own."""
    try:
        told = json.loads((out / RECEIPT).read_text(encoding="utf-8"))
        if told.pop("key") != task.key or told["content"] != content or told["id"] != task.id:
            return None
        outcome = Outcome(**told)
        whole = (out / "episode.json").is_file() and sha256_file(out / "trajectory.parquet") == outcome.digest
        return outcome if whole and (not task.settings.report or (out / "report.html").is_file()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _outcome(task: EpisodeTask, out: Path, content: str, told: dict[str, Any]) -> Outcome:
    data = json.loads((out / "episode.json").read_text(encoding="utf-8"))
    quality = {k: float(data["quality"][k]) for k in QUALITY if data["quality"].get(k) is not None}
    return Outcome(
        task.id,
        DONE,
        seconds={k: float(v) for k, v in data["seconds"].items()},
        quality=quality,
        content=content,
        digest=sha256_file(out / "trajectory.parquet"),
        **told,
    )


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__dataclass_fields__}


def _verdict(error: Exception, task: EpisodeTask) -> dict[str, Any]:
    """Status, error, cause and whether to try again. A wrong input stays wrong; the machine's troubles may pass."""
    message = " ".join(str(error).split())[:1000] or type(error).__name__
    if not isinstance(error, user_errors()):
        message = f"{type(error).__name__}: {message}"
    told = {"error": message, "cause": cause_of(error, message, task)}
    chain = _chain(error)
    if any(isinstance(e, OSError) and e.errno in FULL for e in chain) or _no_room(Path(task.out)):
        return told | {"status": DISK}
    if any(isinstance(e, MemoryError) for e in chain):
        return told | {"status": MEMORY}
    passing = any(isinstance(e, OSError) and not isinstance(e, FileNotFoundError | PermissionError) for e in chain)
    return told | {"status": FAILED, "retry": passing}


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and those it was raised from or while handling."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _no_room(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free < ROOM


def cause_of(error: Exception, message: str, task: EpisodeTask) -> str:
    """An error without what differs between episodes: paths, quoted words and numbers. Reports group by it."""
    text = message
    for own in (f"{task.dataset}/{task.id}", task.out, task.work, task.dataset, task.id):
        text = text.replace(own, "…")
    text = re.sub(r"(?:\S*/)+\S*?(?=:? |:?$)", "…", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", text)
    text = re.sub(r"\d+(?:\.\d+)?", "N", text).removeprefix("…: ")
    kind = type(error).__name__
    return text[:120] if text.startswith(kind) else f"{kind}: {text}"[:120]
