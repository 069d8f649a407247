"""Frames a second of the data engine, and where the time goes.

    python -m benchmarks.data_engine [--data ../shared/data/backgrounds] [--objects DIR] [--workers 2] [--pictures 192]

Whole runs of `urdfit train data` (start of the workers, loading, drawing, encoding, writing), then one process without
loading. On a busy machine only the seconds of a core mean something, and those include waiting for caches.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segmentation.training.assets import Assets, Sources, load_assets
from segmentation.training.clips import sample_clip
from segmentation.training.data import DataSettings, make_data
from segmentation.training.scenes import sample_picture
from segmentation.training.shards import Sample

ROBOTS = ("panda", "iiwa14", "widowx250s")
WIDTH, HEIGHT, FRAMES = 640, 480, 16


def rate(work: Callable[[], int]) -> tuple[int, float, float]:
    """Frames, wall seconds for each, and seconds of a core for each, those of finished child processes included."""
    wall, cores = time.perf_counter(), _core_seconds()
    frames = work()
    return frames, (time.perf_counter() - wall) / frames, (_core_seconds() - cores) / frames


def _core_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Entry point; `--help` lists the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="with desk_photos, textures_robosuite and hdri; default: no files")
    parser.add_argument("--objects", type=Path, help="folder of object meshes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--clips", type=int, default=12)
    options = parser.parse_args()
    folders = [(options.data / name,) for name in ("desk_photos", "textures_robosuite", "hdri")] if options.data else []
    sources = Sources(ROBOTS, *(folders or [()] * 3), (options.objects,) if options.objects else ())

    for pictures, clips in ((options.pictures, 0), (0, options.clips)):
        settings = DataSettings(sources, pictures, clips, FRAMES, WIDTH, HEIGHT, seed=1)
        with tempfile.TemporaryDirectory() as folder:
            frames, wall, core = rate(lambda: make_data(settings, Path(folder), options.workers))  # noqa: B023
            size = sum(p.stat().st_size for p in Path(folder).glob("*.tar")) / frames
        what = "pictures" if pictures else "frames of clips"
        print(
            f"{options.workers} workers: {frames} {what}, {1 / wall:.1f}/s, {1000 * core:.0f} ms of a core "
            f"and {size / 1000:.0f} kB each",
            flush=True,
        )

    assets = load_assets(sources)
    list(sample_clip(np.random.default_rng(0), assets, WIDTH, HEIGHT, 2))  # compiles, and builds what is cached
    for name, work in (
        ("pictures", lambda: len([_picture(k, assets) for k in range(40)])),
        ("frames of clips", lambda: sum(len(_clip(k, assets)) for k in range(4))),
    ):
        _, wall, core = rate(work)
        print(f"one process: {name}, {1000 * wall:.0f} ms of wall time and {1000 * core:.0f} ms of a core each")


def _picture(seed: int, assets: Assets) -> Sample:
    return sample_picture(np.random.default_rng(seed), assets, WIDTH, HEIGHT)


def _clip(seed: int, assets: Assets) -> list[Sample]:
    return list(sample_clip(np.random.default_rng(seed), assets, WIDTH, HEIGHT, FRAMES))


if __name__ == "__main__":
    main()
