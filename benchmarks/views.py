"""Several cameras at once, and a log on another clock, on real recordings.

    python -m benchmarks.views --data ../shared/data [--only kuka franka clock]

- KUKA: left and right images with the masks given, both cameras unknown; joints known, and unknown. The stereo camera's
  baseline is 120.0 mm; poses against HT_*_dr.
- Franka: 20 poses, 3 cameras, cameras unknown, joints unknown but shared; against the calibration by tags. With masks
  rendered from the truth (elbows by inverse kinematics) and with the default segmenter's, which was trained on cameras
  0 and 1 of this very set.
- Clock: panda_video with its joint log shifted by known times.
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

from benchmarks.fit import T_OPTICAL_BODY
from pose import Camera, ViewsFit, fit_video, fit_views
from pose.kernel import make_model, see
from segmentation import load_segmenter, open_video
from urdf import Robot, load_robot
from urdf.inverse import inverse_kinematics


def apart(T: np.ndarray, other: np.ndarray) -> str:
    """Distance and turn between two camera poses."""
    a, b = np.linalg.inv(T), np.linalg.inv(other)
    turn = np.rad2deg(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude())
    return f"{1e3 * np.linalg.norm(a[:3, 3] - b[:3, 3]):.1f} mm {turn:.2f} deg"


def tell(label: str, fit: ViewsFit, references: list[np.ndarray], begin: float) -> None:
    """Print every camera's error, and every pair's."""
    for v, reference in enumerate(references):
        print(f"{label}, camera {v}: {apart(fit.cameras[v].T_cam_base, reference)}, IoU {np.nanmedian(fit.iou[v]):.3f}")
    for a in range(len(references)):
        for b in range(a):
            pair = references[a] @ np.linalg.inv(references[b])
            length = 1e3 * np.linalg.norm(fit.T_view_view(a, b)[:3, 3])
            print(f"{label}, from {b} to {a}: {apart(fit.T_view_view(a, b), pair)}, baseline {length:.1f} mm")
    print(f"{label}: {time.process_time() - begin:.0f} s of CPU; {' | '.join(fit.warnings)}", flush=True)


def drawn(robot: Robot, q: np.ndarray, camera: Camera) -> list[dict[str, np.ndarray]]:
    """Masks rendered from the truth."""
    model = make_model(robot, robot.display_mesh)
    out = []
    for row in q:
        face_id = see(model, row, camera.T_cam_base, camera.K, camera.height, camera.width, 1)[0]
        part = np.where(face_id >= 0, model.face_part[np.maximum(face_id, 0)], -1)
        out.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
    return out


def kuka(data: Path) -> None:
    """The stereo pair."""
    folder = data / "kuka_lbr_med7"
    robot = load_robot(str(folder / "robot" / "lbr_med7.urdf"))
    cameras, references, masks = [], [], []
    for side in ("left", "right"):
        info = yaml.safe_load((folder / f"{side}_camera_info.yaml").read_text())
        cameras.append(Camera(info["width"], info["height"], np.array(info["k"], float).reshape(3, 3)))
        references.append(T_OPTICAL_BODY @ np.linalg.inv(np.load(folder / f"HT_{side}_dr.npy")))
        masks.append([{"robot": cv2.imread(str(folder / f"mask_sam2_{side}_image_{i}.png"), 0)} for i in range(5)])
    q = np.stack([np.load(folder / f"joint_states_{i}.npy") for i in range(5)])
    for label, known in (("KUKA, joints known", q), ("KUKA, joints unknown", None)):
        begin = time.process_time()
        tell(label, fit_views(robot, masks, cameras, q=known), references, begin)


def franka(data: Path) -> None:
    """Three cameras around the table."""
    folder = data / "franka_3cam_poses"
    content = json.loads((folder / "calib_and_poses.json").read_text())
    robot, names = load_robot("panda"), list(content["cameras"])
    given = [content["cameras"][name] for name in names]
    cameras = [Camera(*c["resolution"], np.array(c["K"]), np.array(c["T_cam_base"])) for c in given]
    q = []
    for frame in content["frames"]:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(frame["ee_quaternion_xyzw"]).as_matrix()
        T[:3, 3] = frame["ee_position_m"]
        arm = [int(j) for j in robot.arm_joints]
        q.append(inverse_kinematics(robot, T, robot.rest.copy(), link="panda_link8", joints=arm).q)
    unposed = [replace(camera, T_cam_base=None) for camera in cameras]
    references = [np.asarray(camera.T_cam_base) for camera in cameras]
    rendered = [drawn(robot, np.array(q), camera) for camera in cameras]
    segmenter, ours = load_segmenter("default"), []
    for name in names:
        pictures = [cv2.imread(str(folder / f"{i:03d}_{name}.jpg"))[:, :, ::-1] for i in range(len(q))]
        ours.append(
            [{p: (m > 0.5).astype(np.uint8) * 255 for p, m in one.items()} for one in segmenter.segment(pictures)]
        )
    for label, masks, some in (
        ("Franka, rendered masks", rendered, unposed),
        ("Franka, our masks", ours, unposed),
        ("Franka, our masks, camera 0 known", ours, [cameras[0], *unposed[1:]]),
    ):
        begin = time.process_time()
        tell(label, fit_views(robot, masks, some), references, begin)


def clock(data: Path) -> None:
    """The log of panda_video, shifted."""
    folder = data / "panda_video"
    truth = json.loads((folder / "truth.json").read_text())
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(truth["T_cam_base_rotvec_rad"]).as_matrix()
    T[:3, 3] = truth["T_cam_base_translation_m"]
    robot, camera = load_robot("panda"), Camera(*truth["image_size"], np.array(truth["K"]), T)
    times = np.array([f["time_s"] for f in truth["frames"]])
    q = np.array([[*f["joint_angles_rad"], 0.04] for f in truth["frames"]])
    rendered = [{"robot": m["robot"]} for m in drawn(robot, q, camera)]
    pictures = (frame.image for frame in open_video(folder))
    ours = [
        {p: (m > 0.5).astype(np.uint8) * 255 for p, m in one.items()}
        for one in load_segmenter("default").segment(pictures)
    ]
    for label, masks in (("rendered masks", rendered), ("our masks", ours)):
        for shift in (-0.3, 0.0, 0.1, 0.3):
            for known in (True, False):
                fit = fit_video(
                    robot, masks, camera=camera if known else replace(camera, T_cam_base=None), q=q, times=times,
                    q_times=times + shift, solve=["time"] if known else ["camera", "time"],
                )  # fmt: skip
                print(
                    f"clock, {label}, log shifted by {shift} s, camera {'known' if known else 'unknown'}: found "
                    f"{fit.time_offset:.3f} +- {fit.time_sigma:.3f} s; camera {apart(fit.camera.T_cam_base, T)}",
                    flush=True,
                )


def main() -> None:
    """Read the arguments and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["kuka", "franka", "clock"])
    arguments = parser.parse_args()
    for name, job in (("kuka", kuka), ("franka", franka), ("clock", clock)):
        if name in arguments.only:
            job(arguments.data)


if __name__ == "__main__":
    main()
