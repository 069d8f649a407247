"""A camera that walks around a robot: its pose in every frame, joints known or not, on synthetic clips.

    python -m benchmarks.moving --robots panda --clips 3

The camera swings by some 40 degrees about the robot, nearer and farther, with a hand's tremor; K is known, masks have
contour errors as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.synthetic import Noise, draw, motion, viewpoint
from pose import FitError, MovingFit, fit_moving, fit_video
from pose.kernel import make_model
from urdf import load_robot

FRAMES, FPS = 24, 10.0


def main() -> None:
    """Print a line a clip and case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=["panda"])
    parser.add_argument("--clips", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.robots:
        robot = load_robot(name)
        model = make_model(robot, robot.display_mesh)
        for seed in range(arguments.clips):
            rng = np.random.default_rng(seed)
            q = motion(robot, rng, FRAMES)
            still = viewpoint(robot, q, rng)
            still = replace(still, T_cam_base=_back(np.asarray(still.T_cam_base), 1.25))
            phase = np.linspace(0, 1, FRAMES)
            swing = 0.7 * (np.sin(np.pi * phase + rng.uniform(0, 6)))
            near = 1 + 0.08 * np.sin(2 * np.pi * phase + rng.uniform(0, 6))
            tremor = np.cumsum(rng.normal(0, 0.004, (FRAMES, 3)), 0)
            poses = np.stack([_walk(np.asarray(still.T_cam_base), *at) for at in zip(swing - swing[0], near, tremor)])
            parts = bool(len(robot.gripper_joints))
            masks = [
                draw(model, row, replace(still, T_cam_base=T), Noise(), rng, gripper=parts) for row, T in zip(q, poses)
            ]
            camera = replace(still, T_cam_base=None)
            for case, options in (("joints known", {"q": q}), ("joints unknown", {})):
                begin = time.process_time()
                try:
                    fit = fit_moving(robot, masks, camera=camera, fps=FPS, **options)
                except FitError as error:
                    print(name, seed, case, error, flush=True)
                    continue
                spent = time.process_time() - begin
                print(
                    f"{name} {seed} {case}: {_line(fit, q, poses, robot.arm_joints)}, {spent:.0f} s of CPU", flush=True
                )
            stands = fit_video(robot, masks, camera=camera, q=q, fps=FPS)
            print(f"{name} {seed} taken as standing, joints known: IoU {np.median(stands.iou):.3f}", flush=True)


def _line(fit: MovingFit, q: np.ndarray, poses: np.ndarray, arm: np.ndarray) -> str:
    """Errors of a fit in one line."""
    found = np.linalg.inv(np.stack([c.T_cam_base for c in fit.cameras]))
    true = np.linalg.inv(poses)
    turn = Rotation.from_matrix(np.swapaxes(found[:, :3, :3], 1, 2) @ true[:, :3, :3]).magnitude()
    place = 1e3 * np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1)
    error = np.rad2deg(np.abs((fit.q - q + np.pi) % (2 * np.pi) - np.pi))[:, arm]
    told = fit.observable[:, arm]
    inside = (error <= np.rad2deg(1.96 * fit.sigma[:, arm]))[told]
    sure = inside.mean() if inside.size else np.nan
    return (
        f"camera median {np.median(place):.1f} mm {np.rad2deg(np.median(turn)):.2f} deg, "
        f"worst frame {place.max():.0f} mm; joints {np.median(error, 0).round(2)} deg, seen {told.mean():.2f}, "
        f"cover {sure:.2f}, IoU {np.median(fit.iou):.3f}, valid {fit.valid.sum()}"
    )


def _back(T: np.ndarray, factor: float) -> np.ndarray:
    """A camera farther away, so that the robot stays in the picture."""
    out = T.copy()
    out[2, 3] *= factor
    return out


def _walk(T: np.ndarray, azimuth: float, near: float, tremor: np.ndarray) -> np.ndarray:
    """The camera walked around the base's axis, nearer, and shaken."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, 0, azimuth]).as_matrix()
    out = T @ turn
    out[:3, 3] *= near
    shake = np.eye(4)
    shake[:3, :3] = Rotation.from_rotvec(tremor).as_matrix()
    return shake @ out


if __name__ == "__main__":
    main()
