"""The live tracker: how fast, how far off, how honest about it; beside the fit of the whole clip.

    python -m benchmarks.live [--robots panda iiwa14] [--clips 5] [--search] [--fit] [--data ../shared/data]

Synthetic clips (`benchmarks.synthetic`): the camera known, the joints of the first picture known, with --search none.
Errors are of the arm's joints that the tracker calls observable, in degrees; `cover` is the share of stated 95 %
intervals that hold the truth. Milliseconds are of processor time an update, on one thread. `fit` is `fit_video` on the
same clip and camera. With --data the Panda's video, with masks of the default segmenter and with rendered ones.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.synthetic import Clip, Noise, make_clip
from pose import Camera, Tracker, TrackState, fit_video
from urdf import Robot, load_robot


def track(robot: Robot, camera: Camera, masks, times, q: np.ndarray | None) -> tuple[list[TrackState], np.ndarray]:
    """The states of a clip, and the milliseconds of processor time that each took."""
    states, spent = [], []
    with Tracker(robot, camera, q=q, background=False) as tracker:
        for one, moment in zip(masks, times):
            begin = time.thread_time()
            states.append(tracker.update(one, float(moment)))
            spent.append(1e3 * (time.thread_time() - begin))
    return states, np.array(spent)


def figures(robot: Robot, states: list[TrackState], q: np.ndarray) -> str:
    """Errors of states against joints (T,n), in words."""
    found = np.stack([s.q for s in states])
    seen, sigma = (np.stack([getattr(s, name) for s in states]) for name in ("observable", "sigma"))
    return _errors(robot, found, sigma, seen, q) + f", valid {np.mean([s.valid for s in states]):.2f}"


def _errors(robot: Robot, found, sigma, seen, q) -> str:
    error, arm = np.abs(found - q), robot.arm_joints
    told = seen[:, arm] & np.isfinite(found[:, arm])
    arms = error[:, arm][told]
    inside = (error <= 1.96 * sigma)[:, arm][told]
    out = (
        f"median {np.rad2deg(np.median(arms)):.2f}, 95 % {np.rad2deg(np.quantile(arms, 0.95)):.2f} deg, "
        f"seen {told.mean():.2f}, cover {inside.mean():.2f}"
    )
    if robot.gripper is not None:
        opening = np.abs(robot.gripper.opening(found) - robot.gripper.opening(q))
        out += f", gripper {1e3 * np.nanmedian(opening):.1f} mm"
    return out


def synthetic(name: str, clip: Clip, robot: Robot, search: bool, compare: bool) -> None:
    """Print a line a clip."""
    states, spent = track(robot, clip.camera, clip.masks, clip.times, None if search else clip.q[0])
    later = spent[5:]  # the first ones compile, or search
    print(
        f"{name}: {figures(robot, states, clip.q)}, median {np.median(later):.1f}, "
        f"95 % {np.quantile(later, 0.95):.1f} ms" + (f", search {spent[:5].max() / 1e3:.1f} s" if search else "")
    )
    if compare:
        begin = time.process_time()
        fit = fit_video(robot, clip.masks, camera=clip.camera, q0=clip.q[0], times=clip.times)
        each = 1e3 * (time.process_time() - begin) / len(clip.times)
        print(f"{name} fit: {_errors(robot, fit.q, fit.sigma, fit.observable, clip.q)}, {each:.0f} ms a frame")


def video(data: Path) -> None:
    """Print the errors on the Panda's recorded video."""
    from benchmarks.fit import panda_video

    robot = load_robot("panda")
    camera, q, times, sources = panda_video(data)
    for name, masks in sources.items():
        states, spent = track(robot, camera, masks, times, q[0])
        arm = replace(robot, grippers=())  # the fingers were not recorded
        print(f"Panda video, {name}: {figures(arm, states[1:], q[1:])}, {np.median(spent[5:]):.1f} ms")


def main() -> None:
    """Read the arguments and print a line a clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", default=["panda", "iiwa14"])
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--search", action="store_true", help="no joints are known")
    parser.add_argument("--fit", action="store_true", help="fit_video on the same clips as well")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    for name in arguments.robots:
        robot = load_robot(name)
        for seed in range(arguments.clips):
            clip = make_clip(robot, seed, Noise(), arguments.frames, arguments.fps)
            synthetic(f"{name} {seed}", clip, robot, arguments.search, arguments.fit)
    if arguments.data is not None:
        video(arguments.data)


if __name__ == "__main__":
    main()
