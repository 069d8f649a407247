"""What the pictures' edges add to a fit by masks: one camera, the default segmenter's masks, errors before and after.

    python -m benchmarks.sharpening --data ../shared/data [--only demo uncalibrated franka kuka]

- demo: the drawn clip of `urdfit demo`, K given; uncalibrated: the same, nothing given.
- franka: 20 poses of a real Panda, each of three cameras by itself, K given; against the calibration by tags and the
  recorded end effector. (The default segmenter was trained on pictures of cameras 0 and 1 of this set.)
- kuka: 5 poses of a real arm, each camera of the stereo pair by itself, K, joints and masks given; against the set's
  own reference, which is right to 2.5 mm.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.fit import T_OPTICAL_BODY
from flows.evaluation import load_truth
from flows.sample import render_sample, sample_key
from flows.store import keep
from pose import Camera, Trajectory, fit_video, sharpen_video
from segmentation import load_segmenter, open_video
from twin import load_rig
from twin.place_check import apart
from urdf import Robot, load_robot


def segmented(pictures: Sequence[np.ndarray], turned: bool = False) -> list[dict[str, np.ndarray]]:
    """The default segmenter's masks; turned: the camera hangs upside down."""
    shown = [np.ascontiguousarray(np.rot90(p, 2)) if turned else p for p in pictures]
    found = load_segmenter("default").segment(shown)
    masks = [{part: np.where(m > 0.5, 255, 0).astype(np.uint8) for part, m in one.items()} for one in found]
    return [{part: np.rot90(m, 2) for part, m in one.items()} for one in masks] if turned else masks


def compare(
    label: str, robot: Robot, pictures: Sequence[np.ndarray], masks: Sequence[dict[str, np.ndarray]],
    times: np.ndarray, T_cam_base: np.ndarray, *, truth: Any = None, tool: Any = None, **known: Any,
) -> None:  # fmt: skip
    """Fit, sharpen, and print the errors of both."""
    begin = time.perf_counter()
    fit = fit_video(robot, masks, times=times, **known)
    middle = time.perf_counter()
    sharp = sharpen_video(robot, fit, masks, lambda: iter(pictures), times)
    end = time.perf_counter()
    for name, one, seconds in (("masks", fit, middle - begin), ("edges", sharp, end - middle)):
        print(f"{label}, {name}: {errors(robot, one, T_cam_base, truth, tool)}, {seconds:.0f} s", flush=True)
    if sharp.edges is not None:
        print(f"{label}: support {sharp.edges[0]:.2f} -> {sharp.edges[1]:.2f}; {coverage(sharp, truth)}", flush=True)


def errors(robot: Robot, fit: Trajectory, T_cam_base: np.ndarray, truth: Any, tool: Any) -> str:
    """Of the camera, joints (truth: (T,n)) and end effector (tool: positions (T,3), rotations)."""
    metres, radians = apart(np.asarray(fit.camera.T_cam_base), T_cam_base)
    out = f"camera {1e3 * metres:.1f} mm {np.rad2deg(radians):.2f} deg"
    if truth is not None:
        off = np.abs(fit.q - truth)
        arm = np.rad2deg(off[:, robot.arm_joints])
        out += f", joints median {np.nanmedian(arm):.2f} deg, 90 % {np.nanpercentile(arm, 90):.2f}"
        if robot.gripper is not None:
            gripper = np.abs(robot.gripper.opening(fit.q) - robot.gripper.opening(truth))
            out += f", gripper {1e3 * np.nanmedian(gripper):.1f} mm"
    if tool is not None:
        pose = robot.link_poses(fit.q)[:, robot.link_names.index("panda_link8")]
        off = 1e3 * np.linalg.norm(pose[:, :3, 3] - tool[0], axis=1)
        turn = np.rad2deg((Rotation.from_matrix(pose[:, :3, :3]).inv() * tool[1]).magnitude())
        out += f", end effector median {np.nanmedian(off):.1f} mm {np.nanmedian(turn):.2f} deg"
    return out + f", IoU {np.nanmedian(fit.iou):.3f}"


def coverage(fit: Trajectory, truth: Any) -> str:
    """Share of 95 % intervals that hold the truth."""
    if truth is None:
        return "no true joints"
    inside = np.abs(fit.q - truth) < 1.96 * fit.sigma
    return f"{100 * inside[fit.valid].mean():.0f} % of the 95 % intervals hold the truth"


def demo(data: Path, calibrated: bool) -> None:
    """The clip of `urdfit demo`."""
    folder = keep("sample", sample_key(), render_sample).folder
    told, camera = load_truth(folder / "truth.json")
    assert camera is not None
    video = open_video(folder / "demo.mp4")
    pictures = [frame.image for frame in video]
    known = {"camera": Camera.load(folder / "cam.json")} if calibrated else {}
    compare(
        "demo, K given" if calibrated else "demo, nothing given", load_robot("panda"), pictures, segmented(pictures),
        np.arange(len(pictures)) / video.fps, np.asarray(camera.T_cam_base), truth=np.array(told["q"]), **known,
    )  # fmt: skip


def franka(data: Path) -> None:
    """Three cameras around a table, one at a time."""
    folder = data / "franka_3cam_poses"
    frames = json.loads((folder / "calib_and_poses.json").read_text())["frames"]
    tool = (
        np.array([f["ee_position_m"] for f in frames]),
        Rotation.from_quat([f["ee_quaternion_xyzw"] for f in frames]),
    )
    for v, camera in enumerate(load_rig(folder).cameras):
        assert camera.camera is not None
        pictures = [frame.image for frame in camera.open()]
        compare(
            f"franka, {camera.name}", load_robot("panda"), pictures, segmented(pictures, turned=v == 1),
            100.0 * np.arange(len(pictures)), np.asarray(camera.camera.T_cam_base), tool=tool,
            camera=replace(camera.camera, T_cam_base=None),
        )  # fmt: skip


def kuka(data: Path) -> None:
    """Either camera of the stereo pair."""
    folder = data / "kuka_lbr_med7"
    robot = load_robot(str(folder / "robot" / "lbr_med7.urdf"))
    q = np.stack([np.load(folder / f"joint_states_{i}.npy") for i in range(5)])
    for camera in load_rig(folder).cameras:
        assert camera.camera is not None
        side = camera.name
        pictures = [cv2.imread(str(folder / f"{side}_image_{i}.png"))[..., ::-1] for i in range(5)]
        masks = [{"robot": cv2.imread(str(folder / f"mask_sam2_{side}_image_{i}.png"), 0)} for i in range(5)]
        compare(
            f"kuka, {side}", robot, [np.ascontiguousarray(p) for p in pictures], masks, np.arange(5) / 30.0,
            T_OPTICAL_BODY @ np.linalg.inv(np.load(folder / f"HT_{side}_dr.npy")), q=q,
            camera=replace(camera.camera, T_cam_base=None),
        )  # fmt: skip


def main() -> None:
    """Read the arguments and print every figure."""
    jobs = {
        "demo": lambda data: demo(data, True),
        "uncalibrated": lambda data: demo(data, False),
        "kuka": kuka,
        "franka": franka,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(jobs))
    arguments = parser.parse_args()
    for name in arguments.only:
        jobs[name](arguments.data)


if __name__ == "__main__":
    main()
