"""The fit on synthetic clips of many robots, nothing known but the robot: success, errors, honesty of the errors.

    python -m benchmarks.pose --robots panda ur5e ... --clips 10 [--perfect] [--known-focal] [--adam]

A clip succeeds when every arm joint that the fit calls observable is within 5 degrees (6 % of the range for slides) in
the median over its frames; where a labelled near-symmetry hides a joint's half turn, its listed twin counts. `cover` is
the share of stated 95 % intervals that hold the truth; `bound` is the median joint error that the Cramer-Rao bound
allows (`pose.bound`, for contour errors of the clips' kind), `ratio` ours to it. `--adam` fits the same masks with Adam
through the renderer as well, from the truth disturbed (`benchmarks.adam`): rows marked `adam`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.adam import adam
from benchmarks.synthetic import Clip, Noise, make_clip
from pose import FitError, Trajectory, fit_video
from pose.azimuth import base_axis
from pose.bound import bound
from pose.kernel import make_model
from urdf import Robot, load_robot

ROBOTS = ("panda", "iiwa14", "ur5e_robotiq", "xarm7_gripper", "widowx250s", "viperx300s", "sawyer", "fanuc_lrmate200id")
SUCCESS = np.deg2rad(5.0)
MEDIAN = 0.6745  # of a normal distribution's absolute value, in standard deviations
COLUMNS = (
    "robot clip ok worst median bound ratio seen cover camera_mm camera_deg focal_% gripper_mm iou seconds".split()
)


def run(robot: Robot, clip: Clip, known_focal: bool, seed: int = 0) -> tuple[Trajectory, float]:
    """Fit a clip: the trajectory and the seconds it took."""
    camera = replace(clip.camera, T_cam_base=None) if known_focal else None
    begin = time.perf_counter()
    fit = fit_video(robot, clip.masks, camera=camera, times=clip.times, seed=seed)
    return fit, time.perf_counter() - begin


def least(robot: Robot, clip: Clip, noise: Noise | None, unknown: tuple[str, ...]) -> np.ndarray:
    """(T,n) standard deviations that no unbiased fit of single frames can beat."""
    kind = {"sigma": 1e-3, "offset": 0.0} if noise is None else {"sigma": noise.sigma, "correlation": noise.correlation}
    parts = tuple(name for name in ("robot", "gripper") if name in clip.masks[0])
    return bound(robot, clip.q, clip.camera, unknown=unknown, parts=parts, **kind).q


def measure(robot: Robot, clip: Clip, fit: Trajectory, noise: Noise | None) -> dict[str, float]:
    """Errors of a fit; angles in degrees, slides as the same share of their range."""
    arm = robot.arm_joints
    unit = np.minimum(1.0, (robot.upper - robot.lower) / 1.4)
    error = np.abs(fit.q - clip.q)
    turning = np.isin(np.arange(len(unit)), robot.tree.q_index[robot.tree.kind == 1])
    error[:, turning] = _wrapped(error[:, turning])  # a full turn looks the same
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without a robot are NaN
        typical = np.nanmedian(error / unit, axis=0)
    listed = [_wrapped(np.array(other["q"]) - fit.q[0]) for other in fit.alternatives]
    for name, angle in robot.symmetric:  # the twin of a labelled symmetry counts as found if it is listed
        k = robot.joint_names.index(name)
        twin = np.median(np.abs(error[:, k] - angle))
        if twin < SUCCESS and any(abs(one[k] - angle) < 0.2 for one in listed):
            typical[k] = twin
    typical = typical[arm]
    seen = fit.observable[:, arm].mean(0) > 0.5
    judged = fit.observable & np.isfinite(error)
    inside = (error <= 1.96 * fit.sigma)[:, arm][judged[:, arm]]
    a, b = np.linalg.inv(fit.camera.T_cam_base), np.linalg.inv(clip.camera.T_cam_base)
    if not seen[0]:  # the camera is known up to the base's azimuth: compare it there
        axis = base_axis(make_model(robot), np.ones(len(robot.rest), bool))
        if axis is not None:
            T, _ = axis.turn(fit.camera.T_cam_base, fit.q, float(np.nanmedian(fit.q[:, 0] - clip.q[:, 0])))
            a = np.linalg.inv(T)
    sigma = least(robot, clip, noise, fit.solved)
    allowed = np.rad2deg(MEDIAN * float(np.median((sigma / unit)[:, arm][:, seen]))) if seen.any() else np.nan
    worst = float(np.nan_to_num(typical[seen], nan=np.inf).max(initial=0.0))
    return {
        "ok": float(worst <= SUCCESS and seen.any()),
        "worst": np.rad2deg(worst),
        "median": np.rad2deg(np.median(typical[seen])) if seen.any() else np.nan,
        "bound": allowed,
        "ratio": np.rad2deg(np.median(typical[seen])) / allowed if seen.any() else np.nan,
        "seen": float(seen.mean()),
        "cover": float(inside.mean()) if inside.size else np.nan,
        "camera_mm": 1e3 * float(np.linalg.norm(a[:3, 3] - b[:3, 3])),
        "camera_deg": np.rad2deg(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()),
        "focal_%": 100 * abs(fit.camera.focal / clip.camera.focal - 1),
        "gripper_mm": np.nan
        if robot.gripper is None
        else 1e3 * float(np.nanmedian(np.abs(robot.gripper.opening(fit.q) - robot.gripper.opening(clip.q)))),
        "iou": float(np.median(fit.iou)),
    }


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.abs((angle + np.pi) % (2 * np.pi) - np.pi)


def one(task: tuple[str, int, bool, bool, bool]) -> list[dict[str, float | str]]:
    """Make and fit one clip: its row, and Adam's."""
    name, seed, perfect, known_focal, compare = task
    robot = load_robot(name)
    noise = None if perfect else Noise()
    clip = make_clip(robot, seed, noise)
    try:
        fit, seconds = run(robot, clip, known_focal)
        row = measure(robot, clip, fit, noise)
    except FitError:
        row, seconds = {"ok": 0.0}, np.nan
    rows: list[dict[str, float | str]] = [{"robot": name, "clip": seed, **row, "seconds": seconds}]
    if compare:
        fit, seconds = adam(robot, clip, seed)
        rows.append({"robot": f"{name}:adam", "clip": seed, **measure(robot, clip, fit, noise), "seconds": seconds})
    return rows


def main() -> None:
    """Read the arguments, run all clips and print a row each, then a row a robot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=list(ROBOTS))
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed of the first clip")
    parser.add_argument("--perfect", action="store_true", help="masks without errors")
    parser.add_argument("--known-focal", action="store_true")
    parser.add_argument("--adam", action="store_true", help="fit with Adam as well")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    tasks = [
        (name, arguments.first + i, arguments.perfect, arguments.known_focal, arguments.adam)
        for name in arguments.robots
        for i in range(arguments.clips)
    ]
    print(" ".join(f"{c:>12}" for c in COLUMNS))
    rows = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for some in pool.map(one, tasks):
            rows += some
            print("\n".join(_line(row) for row in some), flush=True)
    print()
    adams = [f"{name}:adam" for name in arguments.robots] if arguments.adam else []
    for name in [*arguments.robots, "all", *adams]:
        mine = [r for r in rows if r["robot"] == name or (name == "all" and ":" not in str(r["robot"]))]
        summary = {c: float(np.nanmedian([r.get(c, np.nan) for r in mine])) for c in COLUMNS[3:]}
        mean = {c: float(np.nanmean([r.get(c, np.nan) for r in mine])) for c in ("ok", "seen", "cover")}
        print(_line({"robot": name, "clip": len(mine), **summary, **mean}))


def _line(row: dict) -> str:
    return " ".join(f"{row.get(c, np.nan):12.2f}" if isinstance(row.get(c, 0.0), float) else f"{row[c]:>12}"
                    for c in COLUMNS)  # fmt: skip


if __name__ == "__main__":
    main()
