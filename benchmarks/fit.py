"""Errors of the fit on real recordings: the KUKA's camera, the KUKA's joints, the joints of the Panda's video.

    python -m benchmarks.fit --data ../shared/data [--seeds 3]

- KUKA camera: left images, given masks, joints known, no depth, no initial camera; against HT_left_dr.
- KUKA joints: camera known, every joint of every image started 15 degrees off (random signs); by masks, then by the
  pictures' edges as well, then by the ZED's depth.
- Panda video: camera and the joints of the first frame known; masks of the default segmenter, and for comparison
  masks rendered from the recorded joints. Recordings are synchronised to about 0.1 s: errors at shifts 0 and 0.1 s.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from pose import Camera, Trajectory, align_depth, fit_video, sharpen_video
from pose.kernel import make_model, see
from segmentation import jaccard, load_segmenter, open_video
from urdf import load_robot

# The references are poses of ROS body frames (x forward, y left, z up).
T_OPTICAL_BODY = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def kuka(data: Path, seeds: int) -> None:
    """Print the camera's and the joints' errors."""
    folder = data / "kuka_lbr_med7"
    robot = load_robot(str(folder / "robot" / "lbr_med7.urdf"))
    info = yaml.safe_load((folder / "left_camera_info.yaml").read_text())
    reference = T_OPTICAL_BODY @ np.linalg.inv(np.load(folder / "HT_left_dr.npy"))
    camera = Camera(info["width"], info["height"], np.array(info["k"], float).reshape(3, 3))
    masks = [{"robot": cv2.imread(str(folder / f"mask_sam2_left_image_{i}.png"), 0)} for i in range(5)]
    q = np.stack([np.load(folder / f"joint_states_{i}.npy") for i in range(5)])
    pictures = [cv2.imread(str(folder / f"left_image_{i}.png"))[..., ::-1] for i in range(5)]
    depths = [np.nan_to_num(np.load(folder / f"depth_{i}.npy").astype(float)) for i in range(5)]
    for seed in range(seeds):
        begin = time.perf_counter()
        fit = fit_video(robot, masks, camera=camera, q=q, seed=seed)
        a, b = np.linalg.inv(fit.camera.T_cam_base), np.linalg.inv(reference)
        angle = np.rad2deg(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude())
        print(
            f"KUKA camera, seed {seed}: {1e3 * np.linalg.norm(a[:3, 3] - b[:3, 3]):.1f} mm, {angle:.2f} deg, "
            f"mean IoU {fit.iou.mean():.3f}, {time.perf_counter() - begin:.1f} s"
        )
    for seed in range(seeds):
        off = np.deg2rad(15) * np.random.default_rng(seed).choice([-1, 1], q.shape)
        fit = fit_video(
            robot, masks, camera=replace(camera, T_cam_base=reference), q=q + off, solve=["joints"], seed=seed, fps=0.1
        )
        times = 10.0 * np.arange(5)
        edges = sharpen_video(robot, fit, masks, lambda: iter(pictures), times)
        depth = align_depth(robot, edges, masks, lambda: iter(depths), times)
        for what, one in (("masks", fit), ("+ edges", edges), ("+ ZED depth", depth)):
            error = np.rad2deg(np.abs(one.q - q))
            print(
                f"KUKA joints, seed {seed}, {what}: mean {error.mean(0).round(1)}, "
                f"median {np.median(error, 0).round(1)} deg, observable {one.observable.mean(0).round(1)}"
            )


def panda(data: Path) -> None:
    """Print the joints' errors with our masks and with rendered ones."""
    camera, q, times, sources = panda_video(data)
    for name, masks in sources.items():
        fit = fit_video(load_robot("panda"), masks, camera=camera, q0=q[0], times=times)
        for shift in (0.0, 0.1):
            print(f"Panda video, {name}, shift {shift} s: {_errors(fit, q, times, shift)}")


def panda_video(data: Path) -> tuple[Camera, np.ndarray, np.ndarray, dict[str, list[dict[str, np.ndarray]]]]:
    """Camera, recorded joints (T,8), times (T,), and masks: the default segmenter's, and rendered ones."""
    folder = data / "panda_video"
    truth = json.loads((folder / "truth.json").read_text())
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(truth["T_cam_base_rotvec_rad"]).as_matrix()
    T[:3, 3] = truth["T_cam_base_translation_m"]
    width, height = truth["image_size"]
    camera = Camera(width, height, np.array(truth["K"]), T)
    times = np.array([f["time_s"] for f in truth["frames"]])
    robot = load_robot("panda")
    q = np.array([[*f["joint_angles_rad"], 0.04] for f in truth["frames"]])  # the fingers were not recorded
    model = make_model(robot, robot.display_mesh)
    drawn = []
    for row in q:
        face_id, _, _ = see(model, row, T, camera.K, height, width, 1)
        drawn.append({"robot": (face_id >= 0).astype(np.uint8) * 255})
    pictures = (frame.image for frame in open_video(folder))
    ours = [
        {part: (p > 0.5).astype(np.uint8) * 255 for part, p in masks.items()}
        for masks in load_segmenter("default").segment(pictures)
    ]
    score = np.mean([jaccard(a["robot"], b["robot"]) for a, b in zip(ours, drawn)])
    print(f"Panda video, our masks against rendered ones: J {score:.3f}")
    return camera, q, times, {"our masks": ours, "rendered masks": drawn}


def _errors(fit: Trajectory, q: np.ndarray, times: np.ndarray, shift: float) -> str:
    then = np.stack([np.interp(times + shift, times, q[:, k]) for k in range(7)], 1)
    error = np.rad2deg(np.abs(fit.q[:, :7] - then))[1:]
    return f"MAE {np.nanmean(error, 0).round(2)}, of all {np.nanmean(error):.2f}, median {np.nanmedian(error):.2f} deg"


def main() -> None:
    """Read the arguments and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    np.set_printoptions(linewidth=200, suppress=True)
    kuka(arguments.data, arguments.seeds)
    panda(arguments.data)


if __name__ == "__main__":
    main()
