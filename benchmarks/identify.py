"""Which robot is in a synthetic clip, of all robots at hand: how often the first name is right, and how sure it was.

    python -m benchmarks.identify [--robots panda ur5e ...] [--clips 2] [--segment] [--parts robot]

Masks are renderings with contour errors (`benchmarks.synthetic`), or with --segment what the default segmenter makes of
shaded pictures of the clip. Robots compete that are installed or fetched (`urdfit robots fetch`).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.synthetic import Clip, Noise, make_clip
from flows.identification import at_hand
from pose import FitError
from pose.identify import Ranking, identify
from urdf import Robot, RobotError, load_robot

FRAMES = 16


def segmented(robot: Robot, clip: Clip, seed: int) -> list[dict[str, np.ndarray]]:
    """The default segmenter's masks of the clip, drawn in a room with the light and noise of a camera."""
    from pose.props import room
    from pose.shading import render_color
    from segmentation import load_segmenter

    rng = np.random.default_rng([seed, 2])
    scene, exposure, pictures = room(rng), None, []
    for row in clip.q:
        picture = render_color(robot, row, clip.camera, scene=scene, exposure=exposure)
        noise = rng.normal(0, 2.5, picture.rgb.shape)
        pictures.append(np.clip(picture.rgb + noise, 0, 255).astype(np.uint8))
    found = load_segmenter("default").segment(pictures)
    return [{part: np.where(p > 0.5, 255, 0).astype(np.uint8) for part, p in masks.items()} for masks in found]


def drawn(clip: Clip) -> list[dict[str, np.ndarray]]:
    """The clip's noisy renderings; a robot without a gripper has an empty mask of it, as from a segmenter."""
    return [{"robot": m["robot"], "gripper": m.get("gripper", np.zeros_like(m["robot"]))} for m in clip.masks]


def show(true: str, seed: int, ranking: Ranking, seconds: float, used: float) -> None:
    """Print one clip's result."""
    names = [c.name for c in ranking.candidates]
    place = names.index(true) + 1 if true in names else 0
    first = ", ".join(f"{c.name} {c.iou:.3f} ({c.probability:.2g})" for c in ranking.candidates[:4])
    print(
        f"{true:22} {seed:3} place {place:2} sure {ranking.confident:d} {seconds:6.1f} s {used:6.1f} s of CPU  {first}",
        flush=True,
    )


def main() -> None:
    """Read the arguments, print a line a clip, then how often the first name is right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", help="the robots in the clips; all of those at hand compete")
    parser.add_argument("--clips", type=int, default=1, help="of each robot")
    parser.add_argument("--first", type=int, default=0, help="seed of the first clip")
    parser.add_argument("--segment", action="store_true")
    parser.add_argument("--parts", nargs="+", default=["robot", "arm", "gripper"])
    arguments = parser.parse_args()
    robots = {name: load_robot(name) for name in at_hand()[0]}
    right, listed, sure, wrongly_sure, count, spent, busy = 0, 0, 0, 0, 0, [], []
    for true in arguments.robots or robots:
        for seed in range(arguments.first, arguments.first + arguments.clips):
            clip = make_clip(robots[true], sum(map(ord, true)) + 1000 * seed, Noise(), FRAMES)
            masks = segmented(robots[true], clip, seed) if arguments.segment else drawn(clip)
            masks = [{part: m for part, m in frame.items() if part in arguments.parts} for frame in masks]
            begin, used = time.perf_counter(), time.process_time()
            try:
                ranking = identify(masks, {name: lambda r=r: r for name, r in robots.items()}, seed=seed)
            except (FitError, RobotError) as error:
                print(f"{true:22} {seed:3} {error}")
                count += 1
                continue
            spent.append(time.perf_counter() - begin)
            used = time.process_time() - used
            busy.append(used)
            show(true, seed, ranking, spent[-1], used)
            count += 1
            right += ranking.best.name == true
            listed += true in ranking.tied
            sure += ranking.confident
            wrongly_sure += ranking.confident and ranking.best.name != true
    print(f"\nfirst right in {right} of {count}; among the tied in {listed}; sure in {sure}, wrongly in {wrongly_sure}")
    print(f"{np.median(spent):.0f} s a clip in the median, {np.median(busy):.0f} s of CPU; {len(robots)} robots")


if __name__ == "__main__":
    main()
