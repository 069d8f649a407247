"""Joint angles: single poses, and smooth motions with a gripper that opens, closes and holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from urdf import Robot

FLOOR = 0.05  # metres above the base that the upper links should stay
KEY = 0.7  # seconds between the poses that a motion passes
SPEED = 1.5  # rad/s or m/s, where the description allows more
CLOSING = 0.35  # seconds a gripper takes


def random_pose(rng: np.random.Generator, robot: Robot) -> np.ndarray:
    """(n,) joint angles around the rest pose (mostly) or anywhere; most of the arm above the base."""
    best, depth = robot.rest, -np.inf
    for _ in range(6):
        if rng.random() < 0.65:
            q = robot.rest + rng.normal(0, rng.uniform(0.2, 0.8), len(robot.rest))
            q[0] = rng.uniform(max(robot.lower[0], -np.pi), min(robot.upper[0], np.pi)) if rng.random() < 0.5 else q[0]
            q = robot.clip(q)
        else:
            q = robot.random_configuration(rng)
        if len(robot.gripper_joints):
            g = robot.gripper_joints
            q[g] = rng.uniform(robot.lower[g], robot.upper[g])
        low = _lowest(robot, q)
        if low > FLOOR:
            return q
        if low > depth:
            best, depth = q, low
    return best


@dataclass(frozen=True, eq=False)
class Motion:
    """Joint angles over time.

    Attributes:
        robot: whose.
        grasp: seconds at which the gripper has closed on something and at which it lets go, or None.
    """

    robot: Robot
    grasp: tuple[float, float] | None
    _arm: PchipInterpolator
    _gripper: PchipInterpolator

    def at(self, time: float) -> np.ndarray:
        """(n,) at a time in seconds."""
        robot = self.robot
        q = np.asarray(self._arm(time), float)
        share = float(self._gripper(time))
        g = robot.gripper_joints
        q[g] = robot.lower[g] + share * (robot.upper[g] - robot.lower[g])
        for gripper in robot.grippers:  # a share of the opening where the opening is known
            q[gripper.joint] = gripper.from_opening(share * gripper.max_opening)
        return q


def random_motion(rng: np.random.Generator, robot: Robot, seconds: float) -> Motion:
    """From a random pose through nearby ones, by monotone cubic splines, which stay inside the limits of their knots.

    Sources: Fritsch and Carlson, "Monotone Piecewise Cubic Interpolation", 1980 (scipy's PCHIP).
    """
    keys = max(2, int(np.ceil(seconds / KEY)) + 1)
    times = np.arange(keys) * KEY
    q = [random_pose(rng, robot)]
    reach = np.minimum(np.minimum(robot.velocity, SPEED) * KEY / 1.5, 1.0)  # a spline's top speed is 1.5 times its mean
    calm = rng.uniform(0.05, 0.6)
    for _ in range(keys - 1):
        step = np.clip(rng.normal(0, calm, len(reach)) * reach, -reach, reach)
        tries = [robot.clip(q[-1] + s * step) for s in (1, -1, 0.3)]
        q.append(max(tries, key=lambda k: min(_lowest(robot, k), FLOOR)))
    arm = PchipInterpolator(times, np.array(q), axis=0)
    grasp = _grasp_times(rng, seconds) if rng.random() < 0.55 else None
    return Motion(robot, grasp, arm, _gripper_spline(rng, seconds, grasp))


def _grasp_times(rng: np.random.Generator, seconds: float) -> tuple[float, float]:
    """Mostly held all along; else picked up or let go on the way."""
    start, end = -1.0, seconds + 1.0
    draw = rng.random()
    if draw > 0.5:
        start = rng.uniform(0.25, 0.6) * seconds
    if draw > 0.75 or 0.35 < draw < 0.5:
        end = rng.uniform(0.65, 0.9) * seconds
    return start, end


def _gripper_spline(rng: np.random.Generator, seconds: float, grasp: tuple[float, float] | None) -> PchipInterpolator:
    """Share 0 closed to 1 open over time."""
    if grasp is None:
        times = np.arange(-1, int(seconds / KEY) + 3) * KEY
        return PchipInterpolator(times, rng.choice([0.0, 1.0, rng.random(), rng.random()], len(times)))
    held, wide = rng.uniform(0.1, 0.75), rng.uniform(0.8, 1.0)
    start, end = grasp
    knots = [start - 9, start - CLOSING, start, end, end + CLOSING, end + 9]
    return PchipInterpolator(knots, [wide, wide, held, held, wide, wide])


def _lowest(robot: Robot, q: np.ndarray) -> float:
    """Height of the lowest origin of the upper links, metres."""
    return float(robot.link_poses(q)[len(robot.link_names) // 3 :, 2, 3].min())
