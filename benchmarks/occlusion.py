"""The fit where a part of the robot cannot be seen: objects before the arm, and pictures without the base.

    python -m benchmarks.occlusion --robots panda --clips 4

Each clip is fitted with its K, whole, with an object that hides 15 to 20 % of the robot (at most, over the frames; it
stands still in the picture), and cropped above the base. A joint of a frame is wrong beyond 10 degrees (twice the bar
of a success), and flagged where it is not called observable.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import cv2
import numpy as np

from benchmarks.synthetic import Clip, Noise, make_clip
from pose import Camera, FitError, fit_video
from pose.kernel import link_poses, make_model, project
from urdf import Robot, load_robot

HIDDEN = (0.15, 0.20)
WRONG = np.deg2rad(10.0)
KINDS = ("whole", "occluded", "base out")


def occluded(clip: Clip, rng: np.random.Generator) -> Clip:
    """An ellipse at a random place of the robot, as large as HIDDEN says, cut out of all masks."""
    masks = [m["robot"] > 0 for m in clip.masks]
    height, width = masks[0].shape
    for _ in range(200):
        ys, xs = np.nonzero(masks[rng.integers(len(masks))])
        i = rng.integers(len(ys))
        shape, angle = rng.uniform(0.5, 1.0), rng.uniform(0, 180)
        low, high = 4.0, 250.0
        for _ in range(12):
            size = np.sqrt(low * high)
            blob = np.zeros((height, width), np.uint8)
            axes = max(1, round(size)), max(1, round(size * shape))
            cv2.ellipse(blob, (int(xs[i]), int(ys[i])), axes, angle, 0, 360, 1, -1)
            share = max((m & (blob > 0)).sum() / max(m.sum(), 1) for m in masks)
            low, high = (low, size) if share > HIDDEN[1] else (size, high)
            if HIDDEN[0] <= share <= HIDDEN[1]:
                cut = [
                    {name: np.where(blob > 0, 0, m).astype(np.uint8) for name, m in frame.items()}
                    for frame in clip.masks
                ]
                return replace(clip, masks=cut)
    raise RuntimeError("no place for the object")


def base_out(robot: Robot, clip: Clip) -> Clip:
    """The picture cropped above the base: no pixel of the first link is left."""
    model = make_model(robot)
    T, K = np.asarray(clip.camera.T_cam_base, float), np.asarray(clip.camera.K, float)
    uv, _ = project(model, link_poses(model, clip.q[0], T)[0], K)
    first = int(model.vertex_link[0])  # the base's own mesh comes first
    top = int(max(64, np.floor(uv[model.vertex_link == first][:, 1].min())))
    camera = Camera(clip.camera.width, top, clip.camera.K, T)
    return replace(clip, camera=camera, masks=[{n: m[:top] for n, m in frame.items()} for frame in clip.masks])


def one(task: tuple[str, int]) -> list[tuple[str, dict]]:
    """Of one clip: kind, and what came of it."""
    name, seed = task
    robot = load_robot(name)
    clip = make_clip(robot, seed, Noise(), frames=16)
    arm = robot.arm_joints
    rows = []
    for kind in KINDS:
        shown = clip if kind == "whole" else base_out(robot, clip)
        if kind == "occluded":
            shown = occluded(clip, np.random.default_rng([seed, 5]))
        try:
            fit = fit_video(robot, shown.masks, camera=replace(shown.camera, T_cam_base=None), times=clip.times)
        except FitError as error:
            rows.append((kind, {"error": str(error)}))
            continue
        error = np.abs((fit.q - clip.q + np.pi) % (2 * np.pi) - np.pi)[:, arm]
        flagged = ~fit.observable[:, arm]
        wrong = ~(error <= WRONG)
        seen = fit.observable[:, arm].mean(0) > 0.5
        inside = error <= 1.96 * fit.sigma[:, arm]
        rows.append((kind, {
            "median": float(np.rad2deg(np.nanmedian(error[:, seen]))) if seen.any() else np.nan,
            "worst": float(np.rad2deg(np.nanmedian(error[:, seen], 0).max())) if seen.any() else np.nan,
            "seen": float(seen.mean()), "iou": float(np.median(fit.iou)), "cover": float(inside[~flagged].mean()),
            "wrong": int(wrong.sum()), "flagged": int(flagged.sum()), "both": int((wrong & flagged).sum()),
            "all": wrong.size, "joints": np.rad2deg(np.nanmedian(error, 0)).round(1).tolist(),
            "unseen": [robot.joint_names[k] for k, s in zip(arm, seen) if not s],
        }))  # fmt: skip
    return rows


def main() -> None:
    """Print each clip, then medians and how well failures are flagged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=["panda"])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    tasks = [(name, seed) for name in arguments.robots for seed in range(arguments.clips)]
    rows: list[tuple[str, dict]] = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for task, some in zip(tasks, pool.map(one, tasks)):
            rows += some
            for kind, row in some:
                print(*task, kind, row, flush=True)
    print()
    for kind in KINDS:
        mine = [row for k, row in rows if k == kind and "error" not in row]
        if not mine:
            continue
        wrong, flagged, both, count = (sum(r[n] for r in mine) for n in ("wrong", "flagged", "both", "all"))
        print(
            f"{kind:9} clips {len(mine)}, median {np.nanmedian([r['median'] for r in mine]):.2f} deg, worst joint "
            f"{np.nanmedian([r['worst'] for r in mine]):.2f}, seen {np.mean([r['seen'] for r in mine]):.2f}, cover "
            f"{np.nanmean([r['cover'] for r in mine]):.2f}; of {count} joints {wrong} wrong, {flagged} flagged: "
            f"recall {both / max(wrong, 1):.2f}, precision {both / max(flagged, 1):.2f}"
        )


if __name__ == "__main__":
    main()
