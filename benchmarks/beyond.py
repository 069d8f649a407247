"""What depth and masks of single links add to masks of the robot: synthetic clips, errors before and after.

    python -m benchmarks.beyond [--robots panda iiwa14 viperx300s] [--clips 3] [--frames 20] [--only depth links]

Clips of `benchmarks.synthetic` (K known, camera and joints unknown, masks with contour errors). Depth is
what a RealSense-like sensor reports (`twin.sample_depth`) of the robot on a floor before a wall; `depth + 1 %`: the
sensor's scale is off by 1 %. Links: every link has a mask, its outline as noisy as the robot's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.synthetic import Clip, Noise, make_clip, spoiled
from pose import Camera, Trajectory, align_depth, fit_video
from pose.kernel import Model, make_model, see
from twin.place_check import apart
from twin.sample_depth import DepthSensor, measure_depth
from urdf import Robot, load_robot

ROBOTS = ("panda", "iiwa14", "viperx300s")
WALL = 1.0  # metres behind the robot's base
OFF = 1.01  # of the sensor's scale


def true_depth(model: Model, q: np.ndarray, camera: Camera) -> np.ndarray:
    """(H,W) metres of the robot on a floor before a wall."""
    T, K = np.asarray(camera.T_cam_base, float), np.asarray(camera.K, float)
    inverse = see(model, q, T, K, camera.height, camera.width, 1)[1]
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(x.shape)], -1)
    down = rays @ T[:3, 2]  # the floor: (R^T (z ray - t)) has no height
    with np.errstate(divide="ignore"):
        floor = np.where(down != 0, T[:3, 2] @ T[:3, 3] / down, np.inf)
    wall = T[2, 3] + WALL
    behind = np.where((floor > 0) & (floor < wall), floor, wall)
    return np.where(inverse > 0, 1 / np.maximum(inverse, 1e-6), behind)


def sensed(robot: Robot, clip: Clip, seed: int, scale: float = 1.0) -> list[np.ndarray]:
    """T pictures (H,W) float32 metres as the sensor reports them."""
    model, sensor = make_model(robot, robot.display_mesh), DepthSensor()
    pictures = (
        measure_depth(true_depth(model, q, clip.camera), clip.camera.focal, sensor, seed, t)
        for t, q in enumerate(clip.q)
    )
    return [picture.astype(np.float32) * np.float32(scale * sensor.unit) for picture in pictures]


def link_masks(robot: Robot, clip: Clip, seed: int) -> list[dict[str, np.ndarray]]:
    """T frames of masks by link, 0 and 255, and the robot's as it was."""
    model, rng, camera = make_model(robot, robot.display_mesh), np.random.default_rng([seed, 3]), clip.camera
    out = []
    for row, masks in zip(clip.q, clip.masks):
        face_id = see(model, row, camera.T_cam_base, camera.K, camera.height, camera.width, 1)[0]
        link = np.where(face_id >= 0, model.face_link[np.maximum(face_id, 0)], -1)
        shown = {robot.link_names[k]: spoiled(link == k, Noise(), rng) for k in np.unique(model.face_link)}
        out.append({"robot": masks["robot"]} | shown)
    return out


@dataclass(frozen=True)
class Errors:
    """Of one fit: camera (mm, degrees), arm joints (T,n degrees), gripper (mm), which intervals hold the truth."""

    camera: tuple[float, float]
    joints: np.ndarray
    gripper: float
    inside: np.ndarray
    camera_inside: np.ndarray
    seconds: float

    @classmethod
    def of(cls, robot: Robot, fit: Trajectory, clip: Clip, seconds: float) -> Errors:
        """Joints that the fit itself says it cannot see do not count."""
        metres, radians = apart(np.asarray(fit.camera.T_cam_base), np.asarray(clip.camera.T_cam_base))
        off = np.where(fit.observable, np.abs(fit.q - clip.q), np.nan)
        gripper = np.nan
        if robot.gripper is not None:
            gripper = 1e3 * float(np.nanmedian(np.abs(robot.gripper.opening(fit.q) - robot.gripper.opening(clip.q))))
        inside = np.where(np.isfinite(off), off < 1.96 * fit.sigma, np.nan)
        return cls(
            (1e3 * metres, np.rad2deg(radians)), np.rad2deg(off[:, robot.arm_joints]), gripper, inside,
            _camera_inside(robot, fit, clip), seconds,
        )  # fmt: skip


def _camera_inside(robot: Robot, fit: Trajectory, clip: Clip) -> np.ndarray:
    """(6,) whether the true twist about the robot's middle lies in the 95 % intervals."""
    from scipy.spatial.transform import Rotation

    T, true = np.asarray(fit.camera.T_cam_base), np.asarray(clip.camera.T_cam_base)
    poses = robot.link_poses(fit.q[np.isfinite(fit.q).all(1)])[:, :, :3, 3].reshape(-1, 3)
    pivot = T[:3, :3] @ poses.mean(0) + T[:3, 3]
    change = true @ np.linalg.inv(T)
    turn = Rotation.from_matrix(change[:3, :3]).as_rotvec()
    shift = change[:3, :3] @ pivot + change[:3, 3] - pivot
    return np.abs(np.r_[turn, shift]) < 1.96 * fit.camera_sigma


def line(name: str, kind: str, runs: Sequence[Errors]) -> str:
    """A row of the table."""
    joints = np.concatenate([r.joints.ravel() for r in runs])
    success = np.mean([all(np.nanmedian(j) < 5 for j in r.joints.T if np.isfinite(j).any()) for r in runs])
    inside = np.concatenate([r.inside.ravel() for r in runs])
    camera = np.median([r.camera for r in runs], 0)
    gripper = [r.gripper for r in runs if np.isfinite(r.gripper)]
    return (
        f"| {name} | {kind} | {100 * success:.0f} | {np.nanmedian(joints):.2f} | {np.nanpercentile(joints, 90):.2f} | "
        f"{camera[0]:.1f} / {camera[1]:.2f} | {np.median(gripper) if gripper else np.nan:.1f} | "
        f"{100 * np.nanmean(inside):.0f} | {100 * np.mean([r.camera_inside for r in runs]):.0f} | "
        f"{np.mean([r.seconds for r in runs]):.1f} |"
    )


def run(name: str, clips: int, kinds: Sequence[str], frames: int) -> dict[str, list[Errors]]:
    """Errors of every kind of evidence on the clips of one robot."""
    robot = load_robot(name)
    out: dict[str, list[Errors]] = {}
    for seed in range(clips):
        clip = make_clip(robot, seed, Noise(), frames)
        camera = replace(clip.camera, T_cam_base=None)

        def note(kind: str, fit: Trajectory, begin: float, clip: Clip = clip) -> None:
            out.setdefault(kind, []).append(Errors.of(robot, fit, clip, time.process_time() - begin))
            print(line(f"{name} {len(out[kind]) - 1}", kind, out[kind][-1:]), flush=True)

        begin = time.process_time()
        fit = fit_video(robot, clip.masks, camera=camera, times=clip.times)
        note("masks", fit, begin)
        if "depth" in kinds:
            for kind, scale in (("depth", 1.0), ("depth + 1 %", OFF)):
                pictures = sensed(robot, clip, seed, scale)
                begin = time.process_time()
                note(kind, align_depth(robot, fit, clip.masks, lambda: iter(pictures), clip.times), begin)  # noqa: B023
        if "links" in kinds:
            masks = link_masks(robot, clip, seed)
            begin = time.process_time()
            note("links", fit_video(robot, masks, camera=camera, times=clip.times), begin)
    return out


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="*", default=list(ROBOTS))
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=["depth", "links"], choices=["depth", "links"])
    given = parser.parse_args()
    print("| robot | evidence | success % | joints median deg | 90 % | camera mm / deg | gripper mm | joints in 95 % | "
          "camera in 95 % | CPU s |\n|" + "---|" * 10)  # fmt: skip
    every: dict[str, list[Errors]] = {}
    rows = []
    for name in given.robots:
        for kind, runs in run(name, given.clips, given.only, given.frames).items():
            rows.append(line(name, kind, runs))
            every.setdefault(kind, []).extend(runs)
    print("\n".join([*rows, *(line("all", kind, runs) for kind, runs in every.items())]))


if __name__ == "__main__":
    main()
