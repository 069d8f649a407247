"""The demo: a sample episode is drawn, then handled like any other video, then compared with its truth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flows.episode import load_episode
from flows.errors import FlowError
from flows.evaluation import PoseErrors, evaluate_masks, evaluate_pose, load_truth
from flows.files import atomic_folder, atomic_path, make_folder
from flows.sample import ROBOT, render_sample, sample_key
from flows.store import keep

OWN_FILES = {"demo.mp4", "cam.json", "truth.json", "truth_masks", "episode"}


def run_demo(out: str | Path, run: Callable[..., Path]) -> dict[str, Any]:
    """Draw the sample (once, into the store), run the ordinary path on its mp4 into `out/episode`, compare.

    Args:
        run: `run_episode`, with Prefect or without. It gets the video, the robot's name and the camera's K;
            the true joints, camera pose and masks are used for the comparison alone.

    Returns:
        "masks" (see `evaluate_masks`), "pose" (`PoseErrors`), "seconds" per stage, "episode" (folder).

    Raises:
        FlowError: `out` is a file or holds other files.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(p.name not in OWN_FILES for p in out.iterdir())):
        raise FlowError(f"{out}: is a file or holds other files than a demo's; give a new folder")
    make_folder(out)
    start = time.perf_counter()
    sample = keep("sample", sample_key(), render_sample)
    for entry in sample.folder.iterdir():
        if entry.is_dir():
            with atomic_folder(out / entry.name) as temporary:
                shutil.copytree(entry, temporary, dirs_exist_ok=True)
        elif entry.name in OWN_FILES:
            with atomic_path(out / entry.name) as temporary:
                shutil.copyfile(entry, temporary)
    folder = run(out / "demo.mp4", ROBOT, out / "episode", camera=out / "cam.json")
    episode = load_episode(folder)
    truth, camera = load_truth(out / "truth.json")
    return {
        "masks": evaluate_masks(folder / "masks", out / "truth_masks"),
        "pose": evaluate_pose(episode, truth, camera),
        "iou": episode.quality["mean_iou"],
        "seconds": {
            "render": sample.seconds,
            **episode.seconds,
            "this run, all in all": time.perf_counter() - start,
        },
        "episode": folder,
        "warnings": episode.warnings,
    }


def pose_rows(errors: PoseErrors) -> list[tuple[str, str]]:
    """The errors as text, one quantity a row."""
    rows = [("median joint error", f"{np.rad2deg(errors.median_joint):.2f}°")]
    if np.isfinite(errors.observable_joint):
        rows.append(("  where determined by the view", f"{np.rad2deg(errors.observable_joint):.2f}°"))
    for name, (mean, median) in errors.joints.items():
        factor, unit = (1000.0, " mm") if name in errors.sliding else (float(np.rad2deg(1.0)), "°")
        rows.append((f"  {name}", f"median {median * factor:.2f}{unit}, mean {mean * factor:.2f}{unit}"))
    if np.isfinite(errors.camera_m):
        rows.append(("camera error", f"{errors.camera_m * 1000:.1f} mm, {np.rad2deg(errors.camera_rad):.2f}°"))
    if np.isfinite(errors.gripper_m):
        rows.append(("gripper opening error", f"{errors.gripper_m * 1000:.1f} mm"))
    if np.isfinite(errors.ee_m):
        rows.append(("end-effector error", f"median {errors.ee_m * 1000:.1f} mm"))
    rows.append(("frames with a pose", f"{errors.valid_fraction:.0%}"))
    return rows
