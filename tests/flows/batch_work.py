"""Stand-in for the work of a batch: does what the episode's name says. Imports little, as every worker process does."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flows.batch.executor import DISK, DONE, FAILED, EpisodeTask, Outcome

WORK = "batch_work:work"
kept: list[bytes] = []


def work(task: EpisodeTask) -> Outcome:
    """Do what the name says; leaves a folder and a line in a log, as a worker leaves an episode."""
    name = task.id.removesuffix(".mp4")
    out = Path(task.out)
    with open(out.parent.parent.parent / f"{out.parent.parent.name}.log", "a") as log:
        log.write(f"{task.id} {task.attempt}\n")
    if name.startswith("bad"):
        return Outcome(task.id, FAILED, f"{task.id}: no robot in it", "no robot", attempt=task.attempt)
    if name.startswith("slow"):
        time.sleep(60)
    if name.startswith("big"):
        ballast = bytearray(1_200_000_000)
        ballast[::4096] = b"1" * len(ballast[::4096])
        time.sleep(60)
    if name.startswith("leak"):
        kept.append(b"1" * 300_000_000)
    if name.startswith("crash") or (name.startswith("flaky") and task.attempt == 1):
        os.abort()
    if name.startswith("full"):
        return Outcome(task.id, DISK, "no space left")
    if name.startswith("wait"):
        time.sleep(0.2)
    out.mkdir(parents=True, exist_ok=True)
    (out / "episode.json").write_text("{}")
    quality = {"frames": 8.0, "mean_iou": 0.9, "lowest_iou": 0.8, "valid_fraction": 1.0}
    return Outcome(task.id, DONE, seconds={"fit": 1.0}, quality=quality, total=1.5, attempt=task.attempt)
