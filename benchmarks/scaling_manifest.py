"""A batch of 100,000 episodes without its videos: how long planning, resuming and reporting take, and how much memory.

    python -m benchmarks.scaling_manifest [--episodes 100000] [--limits] [--keep DIR]

A table of episodes, a file for each (empty: only its size and time are looked at), and a manifest of outcomes as a
batch writes it, all in a temporary folder. Each step is a process of its own, so that its memory is its own. --limits:
exit 1 where a step takes over a minute or over 1 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

EPISODES = 100_000
DONE_SHARE, FAILED_SHARE = 0.9, 0.01  # of the episodes when the batch is taken up again
APPENDED = 1000  # rows written one by one, as a batch does
LIMITS = (60.0, 1000.0)  # seconds, MB
KEY = "k" * 32
STEPS = ("plan", "resume", "append", "report")
CAUSES = ("FlowError: no robot found", "VideoError: not a video", "over the time limit")


def make(folder: Path, count: int) -> None:
    """The data set and an empty batch."""
    videos = folder / "videos"
    for number in range(count):
        path = videos / f"{number // 1000:03d}" / f"{number:07d}.mp4"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    rows = (f"videos/{n // 1000:03d}/{n:07d}.mp4,clip-{n:07d},pick up the cube\n" for n in range(count))
    with open(folder / "episodes.csv", "w") as file:
        file.write("video,id,task\n")
        file.writelines(rows)
    (folder / "out" / "episodes").mkdir(parents=True)


def fill(folder: Path, count: int) -> None:
    """What a batch leaves that was stopped: rows of the manifest, and the folders of what is done."""
    from flows.batch.batch import Batch
    from flows.batch.manifest import SCHEMA
    from flows.batch.plan import safe_name
    from flows.datasets import open_dataset
    from flows.files import write_json

    dataset, out = open_dataset(folder / "episodes.csv"), folder / "out"
    tried = int(count * (DONE_SHARE + FAILED_SHARE))
    rows: list[dict[str, object]] = []
    (out / "manifest").mkdir()
    for number, id in enumerate(dataset.ids()):
        if number == tried:
            break
        failed = number % round(1 / FAILED_SHARE) == 7
        rows.append(_row(number, id, dataset.stamp(id), failed))
        if not failed:
            (out / "episodes" / safe_name(id)).mkdir()
    for first in range(0, tried, 65536):
        piece = rows[first : first + 65536]
        name = f"rows-{first:010d}-{first + len(piece) - 1:010d}.parquet"
        pq.write_table(pa.Table.from_pylist(piece, SCHEMA), out / "manifest" / name, row_group_size=65536)
    batch = Batch(str(folder / "episodes.csv"), "manifest", "panda", out)
    write_json(out / "batch.json", asdict(batch) | {"last_run": None})


def _row(number: int, id: str, stamp: str | None, failed: bool) -> dict[str, object]:
    cause = CAUSES[number // 100 % len(CAUSES)]
    row: dict[str, object] = {
        "id": id, "attempt": 1, "key": KEY, "content": f"{number:064x}", "stamp": stamp, "folder": f"episodes/{id}",
        "total_s": 60.0, "peak_mb": 900.0, "rss_mb": 700.0, "worker": "machine:1", "started": 1.7e9 + number,
    }  # fmt: skip
    if failed:
        return row | {"status": "failed", "error": f"{cause}: clip-{number:07d}", "cause": cause}
    stages = {"segment": 20.0, "fit": 30.0 + number % 7, "actions": 0.3, "report": 9.0}
    quality = {"frames": 300, "mean_iou": 0.5 + number % 500 / 1000, "lowest_iou": 0.4, "valid_fraction": 0.98}
    return row | quality | {"status": "done", "stages_s": stages, "digest": "0" * 64}


def step(name: str, folder: Path) -> dict[str, float]:
    """Carry out one step in this process: what it did, seconds, and MB that it took beside the libraries."""
    from flows.batch.manifest import Manifest
    from flows.batch.plan import Counts, remaining, standings
    from flows.batch.report import write_batch_report, write_dead_letters
    from flows.datasets import open_dataset

    out, before, begun, told = folder / "out", _peak_mb(), time.perf_counter(), {}
    manifest = Manifest(out / "manifest")
    if name in ("plan", "resume"):
        counts = Counts()
        known = standings(manifest)
        todo = list(remaining(open_dataset(folder / "episodes.csv"), known, out, KEY, counts))
        told = {"to do": len(todo), "done": counts.done, "failed": counts.failed}
    elif name == "append":
        manifest.lock()
        for number in range(APPENDED):
            manifest.append(_row(number, f"videos/000/{number:07d}.mp4", "s", False))
        manifest.close()
        told = {"rows": APPENDED, "files": len(list((out / "manifest").glob("rows-*")))}
    else:
        told = {"failures": write_dead_letters(out), "html kB": write_batch_report(out).stat().st_size / 1e3}
    return told | {"seconds": time.perf_counter() - begun, "MB": _peak_mb() - before, "MB in all": _peak_mb()}


def _peak_mb() -> float:
    """Peak of this process's memory; not getrusage's, which begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def simulate(folder: Path, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """All steps, each in a process of its own."""
    make(folder, count)
    for name in STEPS:
        if name == "resume":
            fill(folder, count)
        command = [sys.executable, "-m", "benchmarks.scaling_manifest", "--step", name, "--keep", str(folder)]
        yield name, json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--limits", action="store_true", help="exit 1 where a step takes over a minute or 1 GB")
    parser.add_argument("--keep", type=Path, help="folder to use, and to leave")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(arguments.step, arguments.keep)))
        return
    over = []
    with contextlib.ExitStack() as stack:
        folder = arguments.keep
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="urdfit-scaling-"))
            stack.callback(shutil.rmtree, folder)
        print(f"{arguments.episodes} episodes")
        for name, told in simulate(folder, arguments.episodes):
            print(f"{name:8}", ", ".join(f"{key} {value:g}" for key, value in told.items()), flush=True)
            over += [name] if told["seconds"] > LIMITS[0] or told["MB in all"] > LIMITS[1] else []
    if arguments.limits and over:
        sys.exit(f"over {LIMITS[0]:g} s or {LIMITS[1]:g} MB: {', '.join(over)}")


if __name__ == "__main__":
    main()
