"""From an episode as it was fitted, frame by frame, to actions worth training on.

    trust     frames whose pose is known well enough (sigma of the end effector, by the Jacobian)
    segments  runs of trusted frames; short gaps are bridged, at long ones the clip is cut
    resample  joints at a fixed rate on the recording's own clock, smoothed with zero lag (see `action_smoothing`)
    derive    end effector, gripper and actions from those joints alone, so that all columns agree

Row t's action leads from state t to state t+1; integrating the actions from the first state gives the trajectory
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from flows.actions import delta_actions
from flows.episode import Episode
from flows.errors import FlowError, UsageError
from flows.exporting.action_gripper import GripperSettings, gripper_states
from flows.exporting.action_smoothing import cutoff_hz, resample
from urdf import Robot
from urdf.reference import end_effector_poses


@dataclass(frozen=True)
class ExtractionSettings:
    """How actions are made.

    Attributes:
        fps: of the result; None takes the recording's median rate, rounded to a whole number.
        half_window: seconds to either side that smoothing draws on; 0 interpolates only.
        max_position_sigma, max_rotation_sigma: metres and radians of the end effector; frames above are not trusted.
        max_gap: seconds without a trusted frame that are bridged; at longer gaps the clip is cut.
        least_seconds: shorter segments are left out.
        gripper: thresholds of open and closed.
    """

    fps: int | None = None
    half_window: float = 0.15
    max_position_sigma: float = 0.05
    max_rotation_sigma: float = np.radians(12)
    max_gap: float = 0.5
    least_seconds: float = 0.5
    gripper: GripperSettings = field(default_factory=GripperSettings)

    def __post_init__(self) -> None:
        if self.fps is not None and not 1 <= self.fps <= 1000:
            raise UsageError(f"fps {self.fps}: expected a whole number of frames a second from 1 to 1000")
        for name in ("half_window", "max_position_sigma", "max_rotation_sigma", "max_gap", "least_seconds"):
            if not 0 <= getattr(self, name) < 1e6:
                raise UsageError(f"{name} {getattr(self, name)}: expected a number of at least 0")

    @property
    def smoothing(self) -> dict[str, float | None]:
        """What smoothing did, for the record: lag and look-ahead in seconds, cut-off (-3 dB) in Hz."""
        cutoff = cutoff_hz(self.half_window)
        return {
            "half_window_s": self.half_window,
            "lag_s": 0.0,
            "look_ahead_s": self.half_window,
            "cutoff_hz": cutoff if np.isfinite(cutoff) else None,
        }


@dataclass(frozen=True)
class ActionClip:
    """A segment at a fixed rate: N rows, n joints; nothing in it is NaN but the gripper of a robot without one.

    Attributes:
        fps: rows a second.
        time_s: (N,) seconds since the recording's first frame.
        frame: (N,) the recording's frame nearest in time, whose picture belongs to the row.
        valid: (N,) False where the row was bridged: its frame is not trusted, or further off than a row or frame lasts.
        q, sigma: (N,n) joints in rad or m, and the standard deviation of the nearest trusted frame.
        ee_sigma: (N,2) of the end effector, metres and radians, likewise.
        poses: (N,4,4) T_base_ee.
        gripper, gripper_m: (N,) opening as a fraction with 1 = open, and in metres.
        gripper_open: (N,) the state after hysteresis.
        actions: (N,7) as in `flows.actions`.
    """

    fps: int
    time_s: np.ndarray
    frame: np.ndarray
    valid: np.ndarray
    q: np.ndarray
    sigma: np.ndarray
    ee_sigma: np.ndarray
    poses: np.ndarray
    gripper: np.ndarray
    gripper_m: np.ndarray
    gripper_open: np.ndarray
    actions: np.ndarray

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def joint_actions(self) -> np.ndarray:
        """(N,n) the joints of the next row: absolute targets; the last row holds."""
        return self.q[np.minimum(np.arange(len(self)) + 1, len(self) - 1)]

    def binary_actions(self) -> np.ndarray:
        """(N,7) the actions with the gripper's state, 0 or 1, in the place of its opening."""
        actions = self.actions.copy()
        actions[:, 6] = np.where(
            np.isfinite(actions[:, 6]), np.append(self.gripper_open[1:], self.gripper_open[-1:]), np.nan
        )
        return actions


def end_effector_sigma(robot: Robot, q: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """(T,2) standard deviation of the end effector's position (m) and rotation (rad), root sum of the three axes.

    First order: J diag(sigma^2) J^T with the geometric Jacobian (T,6,n); joints' errors count as independent. NaN
    where q or sigma is.
    """
    out = np.full((len(q), 2), np.nan)
    known = np.flatnonzero(np.isfinite(q).all(1) & np.isfinite(sigma).all(1))
    if len(known):
        J = robot.jacobian(torch.as_tensor(q[known]), robot.ee_link).numpy()
        squares = np.einsum("tin,tn->ti", J**2, sigma[known] ** 2)
        out[known] = np.sqrt(np.stack([squares[:, :3].sum(1), squares[:, 3:].sum(1)], 1))
    return out


def trusted_frames(episode: Episode, ee_sigma: np.ndarray, settings: ExtractionSettings) -> np.ndarray:
    """(T,) True where the episode is valid and the end effector is known well enough."""
    known = np.asarray(episode.valid, bool) & np.isfinite(episode.q).all(1) & np.isfinite(ee_sigma).all(1)
    limits = np.array([settings.max_position_sigma, settings.max_rotation_sigma])
    with np.errstate(invalid="ignore"):
        return known & (ee_sigma <= limits).all(1)


def extract(episode: Episode, robot: Robot, settings: ExtractionSettings | None = None) -> list[ActionClip]:
    """The episode's trusted segments at a fixed rate, in order; an empty list where nothing can be trusted.

    Raises:
        FlowError: timestamps that do not increase, or another robot's joints.
    """
    settings = settings or ExtractionSettings()
    if tuple(episode.joint_names) != tuple(robot.joint_names):
        raise FlowError(
            f"the episode's joints are {', '.join(episode.joint_names)}, "
            f"those of {robot.name} {', '.join(robot.joint_names)}; expected the same"
        )
    times = np.asarray(episode.time_s, float)
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise FlowError("the episode's timestamps do not increase; the recording is damaged")
    if len(times) < 2:
        return []
    ee_sigma = end_effector_sigma(robot, episode.q, episode.sigma)
    trusted = np.flatnonzero(trusted_frames(episode, ee_sigma, settings))
    fps = settings.fps or default_fps(times)
    clips = []
    for run in np.split(trusted, np.flatnonzero(np.diff(times[trusted]) > settings.max_gap) + 1):
        if len(run) >= 2 and times[run[-1]] - times[run[0]] >= settings.least_seconds:
            clips.append(_clip(episode, robot, run, ee_sigma, fps, settings))
    return clips


def default_fps(times: np.ndarray) -> int:
    """The median rate of increasing timestamps in seconds, as a whole number of at least 1."""
    return max(1, round(1 / float(np.median(np.diff(times)))))


def _clip(
    episode: Episode, robot: Robot, run: np.ndarray, ee_sigma: np.ndarray, fps: int, settings: ExtractionSettings
) -> ActionClip:
    """The segment whose trusted frames are `run`."""
    times = np.asarray(episode.time_s, float)
    at = times[run[0]] + np.arange(int(np.floor((times[run[-1]] - times[run[0]]) * fps + 1e-6)) + 1) / fps
    samples = np.where(robot.continuous, np.unwrap(episode.q[run], axis=0), episode.q[run])
    q = resample(times[run], samples, at, settings.half_window, episode.sigma[run])
    q = np.where(robot.continuous, q, np.clip(q, robot.lower, robot.upper))  # a parabola may overshoot a stop
    frame, nearest = _nearest(times, at), run[_nearest(times[run], at)]
    poses = end_effector_poses(robot, q)
    gripper = gripper_m = np.full(len(at), np.nan)
    if robot.gripper is not None:
        gripper, gripper_m = robot.gripper.fraction(q), robot.gripper.opening(q)
    period = float(np.median(np.diff(times)))
    return ActionClip(
        fps=fps,
        time_s=at,
        frame=frame,
        valid=(frame == nearest) & (np.abs(times[frame] - at) <= max(1 / fps, period) + 1e-9),
        q=q,
        sigma=episode.sigma[nearest],
        ee_sigma=ee_sigma[nearest],
        poses=poses,
        gripper=gripper,
        gripper_m=gripper_m,
        gripper_open=gripper_states(at, gripper, settings.gripper),
        actions=delta_actions(poses, gripper),
    )


def _nearest(times: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Index of the sample nearest in time to each of `at`."""
    after = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    return after - (at - times[after - 1] <= times[after] - at)
