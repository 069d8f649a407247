"""Rendered training data: shards of pictures and of clips, drawn by several processes, resumed after interruptions.

Sample i of shard k depends on (seed, kind, k, i) and on the sources only: the number of workers, their order and kills
in between change nothing. A shard that is there is not drawn again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import numpy as np

from segmentation.errors import TrainingError
from segmentation.training.assets import Assets, Sources, load_assets, load_robots
from segmentation.training.clips import sample_clip
from segmentation.training.scenes import EMPTY, sample_picture
from segmentation.training.shards import Sample, read_index, write_shard

VERSION = 1  # of the engine: other numbers make other pictures from the same seed
PER_SHARD = {"pictures": 48, "clips": 3}
KINDS = tuple(PER_SHARD)
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class DataSettings:
    """What to draw.

    Attributes:
        sources: robots, and folders of photos, textures, panoramas and object meshes.
        pictures, clips: how many; `frames` in each clip.
        width, height: in pixels.
        seed: of everything random.
        empty: share of pictures without a robot. own: share of them in the description's own colours for certain.
    """

    sources: Sources
    pictures: int = 1000
    clips: int = 0
    frames: int = 16
    width: int = 640
    height: int = 480
    seed: int = 0
    empty: float = EMPTY
    own: float = 0.0

    def shards(self) -> list[Shard]:
        """All shards, pictures and clips mixed, so that a training that starts early sees both."""
        found = []
        for kind, total in zip(KINDS, (self.pictures, self.clips)):
            size = PER_SHARD[kind]
            for k, start in enumerate(range(0, total, size)):
                found.append((start / total, Shard(kind, k, min(size, total - start))))
        return [shard for _, shard in sorted(found, key=lambda f: (f[0], f[1].kind))]


@dataclass(frozen=True)
class Shard:
    """Shard `index` of its kind, with `count` pictures or clips."""

    kind: str
    index: int
    count: int

    def name(self, seed: int) -> str:
        """File name."""
        return f"{self.kind}_{seed:03d}_{self.index:05d}.tar"


def make_data(settings: DataSettings, out: Path, workers: int = 1, report: Report = lambda done, total: None) -> int:
    """Draw what is missing in the folder `out`; returns the number of frames drawn now.

    One run at a time may draw one seed in one folder.

    Args:
        workers: processes; 1 draws in this one.
        report: told how many frames are done, of how many.

    Raises:
        TrainingError: `out` holds data of other settings or sources, a source is unusable, or a worker was killed.
    """
    load_robots(settings.sources)  # a name that is none must not claim the folder; also builds the meshes' cache once
    _claim(settings, out)
    for left in out.glob(f".*_{settings.seed:03d}_*.tar.*"):  # half-written by a run that was killed
        left.unlink(missing_ok=True)
    frames = {"pictures": 1, "clips": settings.frames}
    total = settings.pictures + settings.clips * settings.frames
    waiting = [s for s in settings.shards() if not _finished(settings, out, s)]
    missing = sum(s.count * frames[s.kind] for s in waiting)
    done = total - missing
    report(done, total)
    for shard in _draw_all(settings, out, waiting, workers):
        done += shard.count * frames[shard.kind]
        report(done, total)
    return missing


def draw_shard(settings: DataSettings, assets: Assets, shard: Shard) -> Iterator[Sample]:
    """The samples of one shard, one after the other."""
    for i in range(shard.count):
        rng = np.random.default_rng((settings.seed, KINDS.index(shard.kind), shard.index, i))
        name = f"{shard.kind[:-1]}-{settings.seed:03d}-{shard.index:05d}-{i:02d}"
        if shard.kind == "pictures":
            size = settings.width, settings.height
            yield sample_picture(rng, assets, *size, name, settings.empty, settings.own)
        else:
            yield from sample_clip(rng, assets, settings.width, settings.height, settings.frames, name)


def _draw_all(settings: DataSettings, out: Path, waiting: list[Shard], workers: int) -> Iterator[Shard]:
    if workers == 1 or len(waiting) < 2:
        if waiting:
            assets = load_assets(settings.sources)
            for shard in waiting:
                write_shard(out / shard.name(settings.seed), draw_shard(settings, assets, shard))
                yield shard
        return
    # New processes rather than forks: a fork of a process whose libraries have threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(waiting)), context, _start_worker, (settings, out))
    try:
        running: dict[Future[None], Shard] = {pool.submit(_work, shard): shard for shard in waiting}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)
    except BrokenProcessPool:
        raise TrainingError(
            "a worker was killed or could not start (out of memory?); use fewer --workers; finished shards are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: dict[str, Any] = {}  # of a worker process: settings, folder, and assets once they are needed


def _start_worker(settings: DataSettings, out: Path) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    _worker.update(settings=settings, out=out)


def _follow_parent() -> None:
    """End with the parent, also when that was killed and could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(shard: Shard) -> None:
    settings, out = _worker["settings"], _worker["out"]
    if "assets" not in _worker:
        _worker["assets"] = load_assets(settings.sources)
    write_shard(out / shard.name(settings.seed), draw_shard(settings, _worker["assets"], shard))


def _finished(settings: DataSettings, out: Path, shard: Shard) -> bool:
    """True when the shard is there and whole; the last one of a smaller --count is drawn again."""
    path = out / shard.name(settings.seed)
    if not path.is_file():
        return False
    try:
        return len({entry.clip for entry in read_index(path)}) == shard.count
    except TrainingError:
        return False


def _claim(settings: DataSettings, out: Path) -> None:
    """Note in `out` what is drawn there, or refuse when it was something else."""
    facts = {
        "version": VERSION,
        "robots": list(settings.sources.robots),
        "files": settings.sources.fingerprint(),
        "frames_per_clip": settings.frames,
        "size": [settings.width, settings.height],
    }
    usual = {"empty": EMPTY, "own": 0.0}
    facts |= {key: getattr(settings, key) for key in usual if getattr(settings, key) != usual[key]}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    out.mkdir(parents=True, exist_ok=True)
    note = out / "data.json"
    if note.exists():
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            known = None
        if known != facts:
            names = [k for k in facts if not isinstance(known, dict) or known.get(k) != facts[k]]
            raise TrainingError(f"{out}: holds data of other {', '.join(names)}; choose another folder")
        return
    if any(out.glob("*.tar")):
        raise TrainingError(f"{out}: holds shards that were not drawn here; choose another folder")
    temporary = out / f".data.{digest}.{os.getpid()}"
    temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, note)
