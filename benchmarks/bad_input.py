"""How often wrong input is recognised, and how often good input is called wrong, on synthetic clips.

    python -m benchmarks.bad_input --robots panda --clips 6

Every kind of mistake is made on every clip; a mistake counts as recognised when the warning for it (or a one-line
error) comes, as told when at least some warning about the fit's quality comes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.synthetic import HEIGHT, WIDTH, Clip, Noise, make_clip
from pose import Camera, FitError, fit_video
from urdf import Robot, load_robot

OTHERS = {"panda": "ur5e_robotiq", "ur5e_robotiq": "xarm7_gripper", "xarm7_gripper": "viperx300s"}
MARKS = (
    "order", "degrees", "limits", "NaN", "K does not fit", "upside down", "poorly", "only in part", "no robot",
    "covers none", "no pose of this robot",
)  # fmt: skip
QUALITY = ("poorly", "only in part", "covers none", "no pose of this robot", "not explained")
Case = tuple[list[dict[str, np.ndarray]], dict[str, Any]]


def unposed(camera: Camera, factor: float = 1.0) -> Camera:
    """K alone, its focal length times a factor."""
    K = np.array(camera.K, float)
    K[0, 0] *= factor
    K[1, 1] *= factor
    return replace(camera, K=K, T_cam_base=None)


def turned(masks: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The video upside down."""
    return [{name: np.ascontiguousarray(m[::-1, ::-1]) for name, m in frame.items()} for frame in masks]


def other_robot(robot: Robot, clip: Clip, seed: int) -> list[dict[str, np.ndarray]]:
    """Masks of another robot in the middle of the same picture."""
    return make_clip(load_robot(OTHERS.get(robot.name, "panda")), seed, Noise(), frames=len(clip.q)).masks


def swapped(q: np.ndarray, robot: Robot, rng: np.random.Generator) -> np.ndarray:
    """Two or more columns of the arm exchanged."""
    out, arm = q.copy(), robot.arm_joints
    while True:
        order = rng.permutation(arm) if rng.random() < 0.5 else arm.copy()
        if (order == arm).all():
            i, j = rng.choice(len(arm), 2, replace=False)
            order[[i, j]] = order[[j, i]]
        out[:, arm] = q[:, order]
        return out


def cases(robot: Robot, clip: Clip, seed: int) -> dict[str, tuple[tuple[str, ...], Callable[[], Case]]]:
    """Name to the marks of its warning, and what to fit."""
    rng = np.random.default_rng([seed, 7])
    masks, q, camera = clip.masks, clip.q, clip.camera
    gaps = q.copy()
    gaps[3, 2] = np.nan
    kind = {m: np.zeros((HEIGHT, WIDTH), np.uint8) for m in masks[0]}
    none: tuple[str, ...] = ()
    return {
        "good: nothing known": (none, lambda: (masks, {})),
        "good: K": (none, lambda: (masks, {"camera": unposed(camera)})),
        "good: K, joints": (none, lambda: (masks, {"camera": unposed(camera), "q": q})),
        "good: all": (none, lambda: (masks, {"camera": camera, "q": q})),
        "other robot, nothing known": (QUALITY, lambda: (other_robot(robot, clip, seed), {})),
        "other robot, K, joints": (QUALITY, lambda: (
            other_robot(robot, clip, seed), {"camera": unposed(camera), "q": q})),
        "all masks empty": (("no frame",), lambda: ([kind] * len(masks), {})),
        "every third mask empty": (("no robot",), lambda: (
            [kind if i % 3 == 2 else m for i, m in enumerate(masks)], {"camera": unposed(camera), "q": q})),
        "upside down, K": (("upside down",), lambda: (turned(masks), {"camera": unposed(camera)})),
        "upside down, K, joints": (("upside down",), lambda: (turned(masks), {"camera": unposed(camera), "q": q})),
        "upside down, all": (QUALITY, lambda: (turned(masks), {"camera": camera, "q": q})),
        "K x 1.3, joints": (("K does not fit",), lambda: (masks, {"camera": unposed(camera, 1.3), "q": q})),
        "K x 0.75": (("K does not fit",), lambda: (masks, {"camera": unposed(camera, 0.75)})),
        "order, all known": (("in another order",), lambda: (masks, {"camera": camera, "q": swapped(q, robot, rng)})),
        "order, K, joints": (("in another order", "outside the joint"), lambda: (
            masks, {"camera": unposed(camera), "q": swapped(q, robot, rng)})),
        "degrees": (("degrees",), lambda: (masks, {"camera": camera, "q": np.rad2deg(q)})),
        "a NaN in the joints": (("NaN",), lambda: (masks, {"camera": unposed(camera), "q": gaps})),
    }  # fmt: skip


def one(task: tuple[str, int, list[str]]) -> list[tuple[str, str, str]]:
    """Of one clip: case, verdict, what was said."""
    name, seed, chosen = task
    robot = load_robot(name)
    clip = make_clip(robot, seed, Noise(), frames=10)
    rows = []
    for case, (marks, make) in cases(robot, clip, seed).items():
        if chosen and not any(c in case for c in chosen):
            continue
        masks, options = make()
        try:
            fit = fit_video(robot, masks, times=clip.times, **options)
            said = [w for w in fit.warnings if any(m in w for m in MARKS)]
            iou = f"IoU {np.median(fit.iou):.2f}"
        except FitError as error:
            said, iou = [str(error)], "stopped"
        assert all("\n" not in line for line in said)
        if not marks:
            verdict = "quiet" if not said else "false alarm"
        elif any(m in line for m in marks for line in said):
            verdict = "recognised"
        else:
            verdict = "told" if any(m in line for m in QUALITY for line in said) else "missed"
        rows.append((case, verdict, f"{iou}; " + " | ".join(said)))
    return rows


def main() -> None:
    """Print what was said of each case, then counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=["panda"])
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--cases", nargs="*", default=[], help="only those whose name holds one of these")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    tasks = [(name, seed, arguments.cases) for name in arguments.robots for seed in range(arguments.clips)]
    counts: dict[str, dict[str, int]] = {}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for (name, seed, _), rows in zip(tasks, pool.map(one, tasks)):
            for case, verdict, said in rows:
                tally = counts.setdefault(case, {})
                tally[verdict] = tally.get(verdict, 0) + 1
                print(f"{name} {seed} {case}: {verdict} ({said})", flush=True)
    print()
    for case, tally in counts.items():
        print(f"{case:28} " + ", ".join(f"{v} {n}" for v, n in sorted(tally.items())))


if __name__ == "__main__":
    main()
