"""A camera on the wrist of synthetic robots: where it sits on the hand, and the gripper, arm joints known or not.

    python -m benchmarks.wrist --robots panda ur5e_robotiq xarm7_gripper --clips 5 [--pictures DIR]

Cameras look past the fingers from 5 to 11 cm beside the hand's axis, with lenses of 65 to 105 degrees; the arm moves,
the gripper opens and closes, masks have contour errors as in the other benchmarks. Half a turn of a symmetric hand
leaves the same picture: `twin` says that the truth is listed among the alternatives.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.synthetic import HEIGHT, WIDTH, Noise, draw, motion
from pose import Camera, FitError, WristFit, fit_wrist
from pose.kernel import Model, make_model
from segmentation.training.cameras import clear, wrist_camera
from segmentation.training.hand import grasp_frame
from urdf import Robot, load_robot

FRAMES, FPS = 24, 10.0
LEAST, MOST = 0.03, 0.6  # of the picture that shows the robot
SAME = np.deg2rad(20)


def main() -> None:
    """Print a line a clip and case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=["panda", "ur5e_robotiq", "xarm7_gripper"])
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    for name in arguments.robots:
        robot = load_robot(name)
        model = make_model(robot, robot.display_mesh)
        for seed in range(arguments.clips):
            q, camera, masks = wrist_clip(robot, model, seed)
            known = replace(camera, T_cam_base=None)
            unknown = q.copy()
            unknown[:, robot.gripper_joints] = np.nan
            for case, options in (
                ("arm and K known", {"q": unknown, "camera": known}), ("arm known", {"q": unknown}),
                ("K known", {"camera": known}), ("nothing known", {}),
            ):  # fmt: skip
                begin = time.perf_counter()
                try:
                    fit = fit_wrist(robot, masks, fps=FPS, **options)
                except FitError as error:
                    print(f"{name} {seed} {case}: {error}", flush=True)
                    continue
                spent = time.perf_counter() - begin
                print(f"{name} {seed} {case}: {_line(robot, fit, q, camera)}, {spent:.0f} s", flush=True)
                if arguments.pictures:
                    arguments.pictures.mkdir(parents=True, exist_ok=True)
                    path = arguments.pictures / f"{name}-{seed}-{case.replace(' ', '-')}.png"
                    cv2.imwrite(str(path), _picture(robot, model, fit, q, masks))


def wrist_clip(robot: Robot, model: Model, seed: int):
    """Joints (T,n), the camera with T_cam_link of the end effector as its T_cam_base, and masks."""
    rng = np.random.default_rng(seed)
    while True:
        q = motion(robot, rng, FRAMES)
        poses = robot.link_poses(q)
        mount = wrist_camera(rng, grasp_frame(robot), WIDTH, HEIGHT)
        masks, free = [], True
        for row, links in zip(q, poses):
            camera = replace(mount, T_cam_base=mount.T_cam_base @ np.linalg.inv(links[robot.ee_index]))
            vertices = robot.mesh.vertices
            points = np.einsum("vij,vj->vi", links[robot.mesh.vertex_link][:, :3, :3], vertices)
            free &= clear(points + links[robot.mesh.vertex_link][:, :3, 3], camera, 0.03)
            if not free:
                break
            masks.append(draw(model, row, camera, Noise(), rng))
        shares = [float((mask["gripper"] > 0).mean()) for mask in masks]
        if free and min(shares) > LEAST and max(shares) < MOST:
            return q, mount, masks


def _line(robot: Robot, fit: WristFit, q: np.ndarray, camera: Camera) -> str:
    """Errors of a fit in one line."""
    mm, degrees = _apart(fit.T_cam_link, np.asarray(camera.T_cam_base))
    twins = [_apart(np.array(other["T_cam_link"]), np.asarray(camera.T_cam_base)) for other in fit.alternatives]
    listed = ""
    if degrees > np.rad2deg(SAME) and any(turn < np.rad2deg(SAME) for _, turn in twins):
        near = min(twins, key=lambda one: one[1])
        listed = f" (twin: {near[0]:.1f} mm {near[1]:.2f} deg)"
    focal = 100 * abs(fit.camera.focal / camera.focal - 1)
    text = f"camera {mm:.1f} mm {degrees:.2f} deg{listed}, stated {1e3 * np.linalg.norm(fit.camera_sigma[3:]):.1f} mm "
    text += f"{np.rad2deg(np.linalg.norm(fit.camera_sigma[:3])):.2f} deg, focal {focal:.2f} %"
    if robot.gripper is not None:
        k = robot.gripper.joint
        error = np.abs(fit.q - q)[:, k]
        inside = (
            np.mean((error <= 1.96 * fit.sigma[:, k])[fit.observable[:, k]]) if fit.observable[:, k].any() else np.nan
        )
        opening = np.abs(robot.gripper.opening(fit.q) - robot.gripper.opening(q))
        text += f", gripper {1e3 * np.nanmedian(opening):.2f} mm (cover {inside:.2f})"
    return f"{text}, IoU {np.median(fit.iou):.3f}, alternatives {len(fit.alternatives)}"


def _apart(T: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Millimetres between two cameras' places on the link, degrees between their directions."""
    a, b = np.linalg.inv(T), np.linalg.inv(other)
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return 1e3 * float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.rad2deg(turn))


def _picture(robot: Robot, model: Model, fit: WristFit, q: np.ndarray, masks) -> np.ndarray:
    """Masks of three frames (grey), what the fit puts there (red), where both agree (white)."""
    out = []
    for t in (0, len(q) // 2, len(q) - 1):
        row = np.where(np.isfinite(fit.q[t]), fit.q[t], q[t])
        T = fit.T_cam_link @ np.linalg.inv(robot.link_poses(row)[robot.ee_index])
        drawn = draw(model, row, replace(fit.camera, T_cam_base=T), None, np.random.default_rng(0))["robot"]
        mask = masks[t]["robot"]
        out.append(np.stack([mask, mask // 2 + drawn // 2, drawn], -1))
    return np.concatenate(out, 1)


if __name__ == "__main__":
    main()
