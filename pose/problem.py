"""What a fit is asked: its arguments, checked and resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pose.camera import Camera
from pose.errors import FitError
from pose.priors import PosePrior
from pose.targets import Targets
from pose.timing import Log
from urdf import Robot

UNKNOWNS = ("camera", "joints", "gripper", "focal", "time")


@dataclass(frozen=True)
class Problem:
    """The arguments of a fit, checked and resolved."""

    robot: Robot
    targets: Targets
    camera: Camera  # of the part of the pictures that the targets look at
    camera_free: bool
    focal_free: bool
    q: np.ndarray | None  # (T,n) known or start values, NaN where there is none
    free: np.ndarray  # (n,)
    solved: tuple[str, ...]
    times: np.ndarray
    known: tuple[int, ...]  # frames whose joints are believed as given
    near: PosePrior | None = None  # where the camera is believed to be
    log: Log | None = None  # the joints as given, when their clock is unknown
    stands: bool = True  # on a floor that is down in most pictures

    def shifted(self, offset: float) -> Problem:
        """The joints of the log at frame times + offset (seconds); those that it does not tell stay unknown."""
        assert self.log is not None and self.q is not None
        q = self.log.at(self.times + offset)
        return replace(self, q=np.where(np.isnan(self.q).all(0), np.nan, q))

    def given(self, t: int, q: np.ndarray) -> np.ndarray:
        """Joints (n,) of a frame with those put in that are known there."""
        return q if self.q is None else np.where(self.free | np.isnan(self.q[t]), q, self.q[t])


def prepare(robot, masks, camera, q, q0, solve, times, fps, q_times, pose_prior) -> Problem:
    targets = Targets(masks, camera, robot, close=True, keep=True)
    count, joints = len(targets), len(robot.joint_names)
    times = np.arange(count) / fps if times is None else np.asarray(times, float)
    if times.shape != (count,) or (np.diff(times) <= 0).any():
        raise FitError(f"times must be {count} increasing numbers of seconds")
    log = None
    if q_times is not None or (solve is not None and "time" in solve):
        log = _log(robot, q, times if q_times is None else np.asarray(q_times, float))
        silent = np.isnan(np.asarray(q, float)).all(0)
        q = np.where(silent, np.nan, log.at(times))
    if q is not None:
        q = np.array(q, float)
        if q.shape != (count, joints):
            raise FitError(
                f"joints have shape {'x'.join(map(str, q.shape))}, expected {count} frames x {joints} joints "
                f"({', '.join(robot.joint_names)})"
            )
    if q0 is not None:
        q0 = np.array(q0, float)
        if q0.shape != (joints,) or not np.isfinite(q0).all():
            raise FitError(f"q0 must hold {joints} finite joint values ({', '.join(robot.joint_names)})")
        q = np.full((count, joints), np.nan) if q is None else q
        q[0] = q0
    if solve is None:
        known = q is not None and np.isfinite(q).all(0)
        free = np.ones(joints, bool) if q is None else ~np.asarray(known)
        camera_free = camera is None or camera.T_cam_base is None or pose_prior is not None
        focal_free = camera is None
    else:
        wrong = sorted(set(solve) - set(UNKNOWNS))
        if wrong:
            raise FitError(f"cannot solve for {', '.join(wrong)}; choose from {', '.join(UNKNOWNS)}")
        free = np.zeros(joints, bool)
        free[robot.arm_joints] = "joints" in solve
        free[robot.gripper_joints] = "gripper" in solve
        camera_free, focal_free = "camera" in solve or pose_prior is not None, "focal" in solve
        if not camera_free and (camera is None or camera.T_cam_base is None):
            raise FitError("the camera's pose is not given and not among what to solve for: add camera to --solve")
        if not focal_free and camera is None:
            raise FitError("the camera's K is not given and focal is not among what to solve for: add focal to --solve")
        if q is None:
            free[:] = True
        elif np.isnan(q[:, ~free]).any():
            raise FitError("the given joints hold NaN in a joint that is not solved for")
    if camera is None:  # the focal length is only the centre of a search
        height, width = targets.full
        camera = Camera.from_focal(width, height, 0.9 * max(width, height))
    if pose_prior is not None:
        camera = replace(camera, T_cam_base=np.asarray(pose_prior.T_cam_base, float))
    if log is not None and (solve is None or "time" not in solve):
        log = None
    if log is not None and free[robot.arm_joints].any():
        raise FitError(
            "the joints' clock and the joints cannot both be solved for: leave joints or time out of --solve"
        )
    solved = tuple(
        name for name, is_free in zip(
            UNKNOWNS,
            (camera_free, free[robot.arm_joints].any(), free[robot.gripper_joints].any(), focal_free, log is not None),
        ) if is_free
    )  # fmt: skip
    if q is not None and not np.isfinite(q).any():
        q = None
    known = () if q0 is None else (0,)
    camera = targets.inner(camera)
    return Problem(robot, targets, camera, camera_free, focal_free, q, free, solved, times, known, pose_prior, log)


def _log(robot: Robot, q, times: np.ndarray) -> Log:
    rows = None if q is None else np.array(q, float)
    if rows is not None and rows.shape == (len(times), len(robot.joint_names)):
        silent = np.intersect1d(robot.gripper_joints, np.flatnonzero(np.isnan(rows).all(0)))
        rows[:, silent] = robot.rest[silent]  # many a log has no gripper
    if rows is None or rows.shape != (len(times), len(robot.joint_names)) or not np.isfinite(rows).all():
        raise FitError(
            f"joints with times of their own, or an unknown clock, must be {len(times)} x {len(robot.joint_names)} "
            "finite values: a row a time"
        )
    if (np.diff(times) <= 0).any():
        raise FitError("the times of the joints must increase")
    return Log(rows, times)
