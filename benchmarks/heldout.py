"""Clips for scoring: robots, photos, panoramas and objects that no training of the default weights has seen.

    python -m benchmarks.heldout make --data ../shared/data/backgrounds --objects DIR --out HELDOUT
    python -m benchmarks.heldout training-files --data ../shared/data/backgrounds --objects DIR    # the others

Held out by file: the last 10 of workspace_photos, the last 5 of desk_photos, 4 panoramas, and object folders whose
number is not divisible by 8. HELDOUT/unseen has robots that were never trained on, HELDOUT/seen has trained ones in
these surroundings; one shard a clip, with depth, camera and joints of every frame.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import numpy as np

from segmentation.training.assets import IMAGES, MESHES, PANORAMAS, Assets, Sources, files_under, load_assets
from segmentation.training.clips import sample_clip
from segmentation.training.shards import write_shard

UNSEEN = ("sawyer", "fanuc_lrmate200id")
SEEN = ("panda", "fr3", "panda_robotiq", "iiwa14", "ur5e_robotiq", "xarm7_gripper", "widowx250s")
PANORAMAS_OUT = ("blender_interior.exr", "pmndrs_apartment.exr", "pmndrs_lab.exr", "pmndrs_workshop.exr")
VIEWS = ("tripod", "handheld", "tripod", "wrist", "tripod", "handheld")
OBJECTS_KEPT = 60  # held-out meshes that are loaded


def split_files(data: Path, objects: Path | None, held_out: bool) -> Sources:
    """The files of one side of the split, without robots."""
    workspace, desk = (files_under([data / name], IMAGES) for name in ("workspace_photos", "desk_photos"))
    panoramas = files_under([data / "hdri"], PANORAMAS)
    meshes = [] if objects is None else files_under([objects], MESHES)
    apart = [p for p in meshes if _number(p) % 8]
    if held_out:
        return Sources(
            (),
            (*workspace[-10:], *desk[-5:]),
            (data / "textures_robosuite",),
            tuple(p for p in panoramas if p.name in PANORAMAS_OUT),
            tuple(apart[:: max(1, len(apart) // OBJECTS_KEPT)]),
        )
    return Sources(
        (),
        (*workspace[:-10], *desk[:-5], data / "photos"),
        (data / "textures_robosuite",),
        tuple(p for p in panoramas if p.name not in PANORAMAS_OUT),
        tuple(p for p in meshes if _number(p) % 8 == 0),
    )


def _number(mesh: Path) -> int:
    digits = re.findall(r"\d+", mesh.parent.name)
    return int(digits[-1]) if digits else 0


def make(sources: Sources, robots: tuple[str, ...], clips: int, frames: int, out: Path, seed: int) -> None:
    """Draw the clips that are missing, robots and views in turn."""
    assets = load_assets(Sources(robots, sources.photos, sources.textures, sources.hdris, sources.objects))
    for k in range(clips):
        name = robots[k % len(robots)]
        path = out / f"{k:02d}_{name}.tar"
        if path.exists():
            continue
        only = np.arange(len(robots)) == k % len(robots)
        one = Assets(**{**vars(assets), "weights": only.astype(float)})
        start = time.perf_counter()
        view = VIEWS[k // len(robots) % len(VIEWS)] if len(robots) < len(VIEWS) else VIEWS[k % len(VIEWS)]
        rng = np.random.default_rng((seed, k))
        write_shard(path, sample_clip(rng, one, 640, 480, frames, f"{name}-{k:02d}", view))
        print(f"{path}: {view}, {frames / (time.perf_counter() - start):.1f} frames/s", flush=True)


def main() -> None:
    """Entry point; `--help` lists the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "training-files"))
    parser.add_argument("--data", type=Path, required=True, help="workspace_photos, desk_photos, hdri, ...")
    parser.add_argument("--objects", type=Path, help="numbered folders of object meshes")
    parser.add_argument("--out", type=Path, default=Path("heldout"))
    parser.add_argument("--clips", type=int, default=12, help="of unseen and of seen robots each")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=606)
    options = parser.parse_args()
    if options.what == "training-files":
        files = split_files(options.data, options.objects, held_out=False)
        for path in (*files.photos, *files.textures, *files.hdris, *files.objects):
            print(path)
        return
    sources = split_files(options.data, options.objects, held_out=True)
    for name, robots in (("unseen", UNSEEN), ("seen", SEEN)):
        make(sources, robots, options.clips, options.frames, options.out / name, options.seed)


if __name__ == "__main__":
    main()
