"""Objects of the synthetic rig with depth, true cameras and true robot masks: how good fusion and splitting alone are.

python -m benchmarks.objects [--frames 300] [--every 15] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from flows.sample_rig import FULL, sample_rig
from flows.twin_scores import twin_rows
from twin import load_rig
from twin.measure import measure_twin
from twin.objects import split_scene, with_pieces
from twin.scene import Scene
from twin.scene_files import read_scene, write_scene
from twin.static import still_views
from twin.tsdf import TsdfSettings, fuse_depth

BOUNDS = ((-0.6, -1.0, -0.2), (1.5, 1.0, 1.0))


def main() -> None:
    """Fuse, split, measure; print the time of each and the errors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=FULL.frames)
    parser.add_argument("--every", type=int, default=15, help="take every n-th frame")
    parser.add_argument("--out", type=Path, help="write the scene there")
    given = parser.parse_args()
    folder = sample_rig(replace(FULL, frames=given.frames))
    rig, truth = load_rig(folder / "rig_known.json"), read_scene(folder / "truth")
    ignore = {v: Masks(folder / "masks" / camera.name / "robot") for v, camera in enumerate(rig.cameras)}
    start = time.perf_counter()
    mesh = fuse_depth(still_views(rig.observations(ignore=ignore, every=given.every)), TsdfSettings(bounds=BOUNDS))
    fused = time.perf_counter()
    split = split_scene(mesh)
    bodies, said = with_pieces(split.bodies)
    print(f"fusion {fused - start:.1f} s, objects {time.perf_counter() - fused:.1f} s")
    scene = Scene(split.background, bodies, None, truth.cameras, warnings=(*split.warnings, *said))
    if given.out is not None:
        write_scene(given.out, scene)
    for quantity, value in twin_rows(measure_twin(scene, truth)):
        print(f"{quantity:32} {value}")
    for line in scene.warnings:
        print(line)


class Masks:
    """Robot masks of one camera, grown by three pixels, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        return cv2.dilate(cv2.imread(str(self.files[index]), 0), np.ones((7, 7), np.uint8)) > 0


if __name__ == "__main__":
    main()
