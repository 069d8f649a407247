"""How many low-resolution guesses a second are looked at: by the compiled code, and by torch on each device it has.

    python -m benchmarks.guesses --robots panda --count 4000

Both are given the same guesses, and the table says by how much their overlaps differ at most.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from pose import kernel, many
from pose.fit import SEARCH_FACES
from pose.kernel import Model, make_model
from pose.start import look
from urdf import Robot, load_robot

WIDTH, HEIGHT, FOCAL = 60, 44, 60.0
REPEATS = 3
CHANNELS = np.array([[1.0, 1.0], [0.0, 1.0]])


def guesses(robot: Robot, model: Model, count: int) -> tuple[np.ndarray, ...]:
    """Joints, poses, intrinsics, masks of the first eight, and which of them each guess is held against."""
    rng = np.random.default_rng(0)
    q = rng.uniform(robot.lower, robot.upper, (count, len(robot.rest)))
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = look(rng.uniform(-np.pi, np.pi, count), rng.uniform(0, 1.2, count), rng.normal(0, 0.1, count))
    T[:, :3, 3] = np.column_stack([rng.normal(0, 0.2, (count, 2)), rng.uniform(1.0, 2.5, count)])
    K = np.tile(np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]), (count, 1, 1))
    seen = [kernel.see(model, *one, HEIGHT, WIDTH, 1)[0] for one in zip(q[:8], T[:8], K[:8])]
    masks = np.stack([kernel.coverage(one, model.face_part, CHANNELS, 1) for one in seen])
    return q, T, K, masks, rng.integers(0, len(masks), count)


def measured(look_at: Callable[..., np.ndarray], *at) -> tuple[np.ndarray, float]:
    """The overlaps, and the seconds of the fastest of some repeats after one that is not counted."""
    out, seconds = look_at(*at), []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        out = look_at(*at)
        seconds.append(time.perf_counter() - begin)
    return out, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", default=["panda", "ur5e_robotiq"])
    parser.add_argument("--count", type=int, default=4000)
    args = parser.parse_args()
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    names = {"cpu": "processor", "cuda": torch.cuda.get_device_name() if len(devices) > 1 else ""}
    print(f"{'robot':>20} {'by':>32} {'guesses/s':>12} {'times':>8} {'apart':>8}")
    for name in args.robots:
        robot = load_robot(name)
        model = make_model(robot.with_mesh_faces(SEARCH_FACES))
        at = guesses(robot, model, args.count)
        expected, usual = measured(kernel.overlaps, model, *at, CHANNELS)
        print(f"{name:>20} {'compiled code':>32} {args.count / usual:12.0f} {1:8.2f} {0:8.4f}")
        for device in devices:
            found, seconds = measured(many.overlaps_on, device, model, *at, CHANNELS)
            apart = float(np.abs(found - expected).max())
            by = f"torch, {names[device]}"
            print(f"{name:>20} {by:>32} {args.count / seconds:12.0f} {usual / seconds:8.2f} {apart:8.4f}")


if __name__ == "__main__":
    main()
