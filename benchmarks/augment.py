"""Measure augmentation on an episode: speed, the tool's pose on other robots, and how real what is drawn looks.

    python -m benchmarks.augment EPISODE --backgrounds DIR [--textures DIR] [--robots ur5e_robotiq xarm7_gripper ...]

Seconds are of the processor (one thread), so that other work on the machine does not count. "drawn against real": the
episode's own robot drawn at the fitted joints with the light that was found, compared with the frames inside both
outlines, so paint, light and blur count and the fit's misses at the outline do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from flows.augmentation.job import augment_episode, make_augmentation
from flows.augmentation.source import open_episode, survey
from flows.drawing import part_image
from flows.episode import load_episode
from flows.job import robot_of
from pose.shading import render_color
from segmentation import MaskFolder, jaccard
from urdf.reference import end_effector_poses


def drawn_against_real(folder: Path) -> str:
    """Median and 90th percentile of the difference in grey levels, and what one grey instead would give."""
    source = open_episode(folder)
    episode, look = source.episode, survey(source)
    light, differences, plain = look.lighting, [], []
    for t, image in enumerate(source.frames()):
        if not episode.valid[t] or t % 8:
            continue
        drawn = render_color(
            source.robot,
            episode.q[t],
            episode.camera,
            lights=light.lights,
            surroundings=light.surroundings,
            exposure=1.0,
        )
        both = cv2.erode((source.robot_mask(t) & (drawn.part > 0)).astype(np.uint8), np.ones((3, 3))) > 0
        differences.append(np.abs(drawn.rgb[both].astype(float) - image[both]).mean(1))
        plain.append(np.abs(image[both] - image[both].mean(0)).mean(1))
    found, grey = np.concatenate(differences), np.concatenate(plain)
    return (
        f"drawn against real: median {np.median(found):.1f}, 90th percentile {np.percentile(found, 90):.1f} grey "
        f"levels (its mean colour alone: {np.median(grey):.1f}, {np.percentile(grey, 90):.1f}); "
        f"{look.plate.seen.mean():.1%} of the plate seen, blur {light.blur}, noise {light.noise:.1f}"
    )


def timed(folder: Path, out: Path, count: int, **settings: object) -> tuple[Path, float]:
    """Make episodes; returns the first one's folder and processor seconds a frame, all preparation included."""
    start = time.process_time()
    made = augment_episode(make_augmentation(folder, **settings), out, count)  # type: ignore[arg-type]
    return made[0].folder, (time.process_time() - start) / sum(v.frames for v in made)


def main() -> None:
    """Print a line a measurement."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("episode", type=Path)
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--robots", nargs="*", default=["iiwa14", "viperx300s", "widowx250s"])
    options = parser.parse_args()
    print(drawn_against_real(options.episode))
    old = load_episode(options.episode)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        _, seconds = timed(options.episode, out / "photo", 2, backgrounds=options.backgrounds)
        print(f"photographs behind: {1 / seconds:.1f} frames/s")
        if options.textures:
            _, seconds = timed(
                options.episode, out / "table", 2, backgrounds=options.backgrounds, textures=options.textures
            )
            print(f"photographs, textured table, shadow: {1 / seconds:.1f} frames/s")
        for robot in options.robots:
            folder, seconds = timed(options.episode, out / robot, 1, robot=robot)
            new, masks, model = load_episode(folder), MaskFolder(folder / "masks"), robot_of(robot)
            base = np.array(new.settings["augmentation"]["base_m"])
            got, wanted = (end_effector_poses(robot_of(e.robot), e.q)[new.valid] for e in (new, old))
            miss = np.linalg.norm(got[:, :3, 3] + base - wanted[:, :3, 3], axis=1).max() * 1000
            same = [
                jaccard(masks[t]["robot"] > 0, part_image(model, new.q[t], new.camera) >= 0)
                for t in np.flatnonzero(new.valid)[::8]
            ]
            pairs = np.isfinite(new.actions[:, :6]).all(1)
            equal = np.array_equal(new.actions[pairs, :6], old.actions[pairs, :6])
            print(
                f"{robot}: {new.valid.sum()} of {old.valid.sum()} frames reached, base {np.round(base, 2).tolist()}, "
                f"tool off by at most {miss:.4f} mm, motion numbers {'equal' if equal else 'DIFFER'}, masks against a "
                f"re-render IoU {np.mean(same):.3f} (lowest {np.min(same):.3f}), {1 / seconds:.1f} frames/s"
            )


if __name__ == "__main__":
    main()
