"""Track a robot through a video at the video's own pace, as if it came from a live camera.

    python examples/track_video.py VIDEO --robot panda --camera cam.json [--joints q.json] [--speed 0.25]

A picture that comes while the one before is still being worked on is dropped, as a live camera would. The default
segmenter makes the masks; it takes most of the time. Prints a line a second, then how many pictures were dropped and
how long after a picture its state was known.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pose import Camera, Tracker
from segmentation import load_segmenter, open_video
from urdf import load_robot


def live(segmenter) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A segmenter that takes one picture at a time and remembers the one before."""
    waiting: list[np.ndarray] = []

    def pictures() -> Iterator[np.ndarray]:
        while waiting:
            yield waiting.pop()

    masks = segmenter.segment(pictures())

    def one(picture: np.ndarray) -> dict[str, np.ndarray]:
        waiting.append(picture)
        return next(masks)

    return one


def at_own_pace(video, speed: float) -> Iterator[tuple[float, float, np.ndarray, int]]:
    """Time in the video, when it was due on the clock, picture, and how many were dropped before it."""
    begin, dropped = time.perf_counter(), 0
    frames = iter(video)
    now = next(frames, None)
    while now is not None:
        due = begin + now.time_s / speed
        after = next(frames, None)
        if after is not None and time.perf_counter() > begin + after.time_s / speed:
            dropped += 1  # a newer one is there already
        else:
            time.sleep(max(0.0, due - time.perf_counter()))
            yield now.time_s, due, now.image, dropped
            dropped = 0
        now = after


def main() -> None:
    """Read the arguments, track, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--robot", required=True)
    parser.add_argument("--camera", type=Path, required=True, help="cam.json with T_cam_base")
    parser.add_argument("--joints", type=Path, help="q.json whose first row is the first picture's joints")
    parser.add_argument("--speed", type=float, default=1.0, help="of the video's own")
    arguments = parser.parse_args()
    q = None if arguments.joints is None else np.array(json.loads(arguments.joints.read_text())["q"][0])
    robot, camera, segmenter = load_robot(arguments.robot), Camera.load(arguments.camera), load_segmenter("default")
    video = open_video(arguments.video)
    with Tracker(
        robot, camera, q=q
    ) as tracker:  # the first picture takes seconds: do not count what a stream does once
        tracker.update(live(segmenter)(next(iter(video)).image), 0.0)
    segment = live(segmenter)
    taken, dropped, valid, late, told = 0, 0, 0, [], -np.inf
    with Tracker(robot, camera, q=q) as tracker:
        for moment, due, picture, missed in at_own_pace(video, arguments.speed):
            masks = segment(picture)
            state = tracker.update(masks, moment)
            taken, dropped, valid = taken + 1, dropped + missed, valid + state.valid
            late.append(time.perf_counter() - due)
            if moment - told >= 1.0:
                told = moment
                joints = " ".join(f"{v:6.2f}±{s:.2f}" for v, s in zip(state.q, state.sigma))
                what = "searching" if state.searching else "valid" if state.valid else "lost"
                print(f"{moment:6.1f} s  {what:9}  {joints}", flush=True)
        latency = tracker.latency
    print(f"{taken} pictures tracked ({valid} valid), {dropped} dropped")
    middle, most, worst = 1e3 * np.quantile(late, [0.5, 0.95, 1.0])
    print(f"from a picture to its state: median {middle:.0f}, 95 % {most:.0f}, longest {worst:.0f} ms")
    print(f"of that the tracker: median {1e3 * latency.median:.0f}, 95 % {1e3 * latency.p95:.0f} ms")


if __name__ == "__main__":
    main()
