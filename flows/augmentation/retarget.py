"""Another robot's joints for the same motion of the tool.

A gripper turned half about the tool's z grasps the same; whichever half turn and branch of the inverse kinematics
follows the whole clip best is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from flows.augmentation.tool import tool_axes
from flows.episode import Episode
from urdf import Robot
from urdf.inverse import inverse_kinematics
from urdf.reference import end_effector_poses

BRANCHES = 5  # starts tried for each half turn
RANKED = 48  # frames looked at to choose among them
RESTARTS = 1, 4  # of a frame that cannot be reached from the one before: while choosing, and at the end
FLOOR = (0.02, -0.02)  # metres above the base's plane: an arm, a gripper lower than that speak against a branch
RINGS = (0.1, 0.2, 0.3, 0.45, 0.6)  # metres by which a base may be moved
BEARINGS = 8


@dataclass(frozen=True)
class Motion:
    """Joints of the new robot for T frames.

    Attributes:
        q: (T,n), NaN where the tool's pose is unknown, out of reach, or only to be had by a jump.
        reached: (T,) bool. jumps: frames given up for continuity.
        opening, fraction: (T,) of the new gripper, metres and 1 = open; NaN without one.
        clamped: frames whose opening is beyond what the new gripper can do.
        base: (3,) where the new base stands in the old one's frame, metres; the axes are the same.
    """

    q: np.ndarray
    reached: np.ndarray
    jumps: int
    opening: np.ndarray
    fraction: np.ndarray
    clamped: int
    base: np.ndarray


def retarget(episode: Episode, old: Robot, new: Robot, base: np.ndarray | None = None, seed: int = 0) -> Motion:
    """Joints of `new` that hold the tool where `old` held it, continuous over time.

    Args:
        episode: with q of `old`.
        base: (3,) metres, where the new base stands in the old one's frame; None = at the same place, or where
            more frames can be reached from, on the same plane and with the same axes.
        seed: of the random starts.
    """
    count = len(episode)
    poses = end_effector_poses(old, np.where(episode.valid[:, None], episode.q, np.nan))
    tool = poses.copy()
    tool[:, :3, :3] = poses[:, :3, :3] @ tool_axes(old)
    opening = np.where(episode.valid, episode.gripper_opening, np.nan)
    start = np.tile(new.rest, (count, 1))
    clamped, fraction, metres = 0, np.full(count, np.nan), np.full(count, np.nan)
    if new.gripper is not None:
        wanted = np.where(np.isfinite(opening), opening, new.gripper.opening(new.rest))
        start[:, new.gripper.joint] = new.gripper.from_opening(wanted)
        metres, fraction = new.gripper.opening(start), new.gripper.fraction(start)
        clamped = int((np.abs(metres - wanted) > 1e-3).sum())
    known = np.flatnonzero(np.isfinite(tool).all((1, 2)))
    shift = np.zeros(3) if base is None else np.asarray(base, float)
    q, reached, jumps = np.full_like(start, np.nan), np.zeros(count, bool), 0
    if len(known):
        body = surface_points(old, episode.q[known])
        follow = _Follower(new, tool[known], start[known], body, _limits(old, episode.q[known]), seed)
        if base is None:
            shift = follow.place()
        q[known], reached[known], jumps = follow.best(shift)
    gone = ~reached
    q[gone], metres[gone], fraction[gone] = np.nan, np.nan, np.nan
    return Motion(q, reached, jumps, metres, fraction, clamped, shift)


def surface_points(robot: Robot, q: np.ndarray, count: int = 150) -> np.ndarray:
    """(T,P,3) some points on the robot in the base's frame for q (T,n), metres."""
    mesh = robot.mesh
    chosen = np.unique(np.linspace(0, len(mesh.vertices) - 1, count).astype(int))
    T = robot.link_poses(q)[:, mesh.vertex_link[chosen]]
    return np.einsum("tpij,pj->tpi", T[..., :3, :3], mesh.vertices[chosen]) + T[..., :3, 3]


def _limits(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T-1,) radians that a joint may turn between frames where the old robot moved q (T,n): more is another branch.

    Told from the old robot's motion, not from time: frame rates in files are often wrong.
    """
    return 0.3 + 3 * np.abs(np.diff(q[:, robot.arm_joints], axis=0)).max(1)


class _Follower:
    """Looks for the branch of a robot's inverse kinematics that follows the tool best."""

    def __init__(
        self, robot: Robot, tool: np.ndarray, start: np.ndarray, body: np.ndarray, limits: np.ndarray, seed: int
    ) -> None:
        """For T frames: tool (T,4,4), start (T,n), body (T,P,3) points on the old robot, limits (T-1,) of steps."""
        self.robot, self.start, self.body, self.limits, self.seed = robot, start, body, limits, seed
        half = np.diag([-1.0, -1.0, 1.0])
        axes = tool_axes(robot)
        self.turns = []
        for turn in (np.eye(3), half) if robot.gripper is not None else (np.eye(3),):
            targets = tool.copy()
            targets[:, :3, :3] = tool[:, :3, :3] @ turn @ axes.T
            self.turns.append(targets)
        tree = robot.tree
        moved = np.zeros(len(tree.parent), bool)
        for link, parent in enumerate(tree.parent):
            moved[link] = tree.q_index[link] >= 0 or (parent >= 0 and moved[parent])
        self.moved = moved

    def place(self) -> np.ndarray:
        """(3,) the old place where everything can be reached from it, else the best of some places around it."""
        few = np.unique(np.linspace(0, len(self.start) - 1, min(10, len(self.start))).astype(int))
        if self._share(np.zeros(3), few) == 1.0:
            return np.zeros(3)
        best, found = np.zeros(3), self._share(np.zeros(3), few)
        for radius in RINGS:
            for turn in np.arange(BEARINGS) / BEARINGS * 2 * np.pi:
                shift = radius * np.array([np.cos(turn), np.sin(turn), 0.0])
                share = self._share(shift, few)
                if share > found:
                    best, found = shift, share
            if found == 1.0:
                break
        return best

    def _share(self, shift: np.ndarray, frames: np.ndarray) -> float:
        """Of the frames, those that can be reached from there with either half turn."""
        shares = []
        for targets in self.turns:
            wanted = _shifted(targets[frames], shift)
            found = inverse_kinematics(self.robot, wanted, self.start[frames], restarts=1, seed=self.seed)
            shares.append(float(found.success.mean()))
        return max(shares)

    def best(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """(q, reached, jumps) of the branch with the most frames, fewest jumps, and most alike to the old robot."""
        count = len(self.start)
        few = np.unique(np.linspace(0, count - 1, min(RANKED, count)).astype(int))
        rng = np.random.default_rng(self.seed)
        candidates: list[tuple[tuple[float, float], int, np.ndarray, np.ndarray]] = []
        for targets in self.turns:
            wanted = _shifted(targets, shift)
            for branch in range(BRANCHES):
                home = self.start[few[0]].copy()
                if branch:
                    arm = self.robot.arm_joints
                    home[arm] = rng.uniform(self.robot.lower, self.robot.upper)[arm]
                q, reached = self._track(wanted[few], home, self.start[few], RESTARTS[0])
                candidates.append((self._cost(q, reached, self.body[few] - shift), len(candidates), wanted, q))
        _, _, wanted, q = min(candidates, key=lambda c: c[:2])
        held = q[np.isfinite(q).all(1)]
        q, reached = self._track(wanted, held[0] if len(held) else self.start[0], self.start, RESTARTS[1])
        jumps = 0
        for t in range(1, count):
            if reached[t] and reached[t - 1] and self._step(q[t], q[t - 1]).max() > self.limits[t - 1]:
                reached[t] = False  # the pose can be held, but not be come to
                jumps += 1
        return np.where(reached[:, None], q, np.nan), reached, jumps

    def _track(
        self, targets: np.ndarray, home: np.ndarray, start: np.ndarray, restarts: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solutions (T,n), each near the one before; NaN rows where there is none."""
        arm_only = [i for i in range(len(home)) if i not in self.robot.gripper_joints]
        home = home.copy()
        q, reached = np.full(start.shape, np.nan), np.zeros(len(start), bool)
        for t, target in enumerate(targets):
            home[self.robot.gripper_joints] = start[t, self.robot.gripper_joints]
            found = inverse_kinematics(self.robot, target, home, joints=arm_only, restarts=restarts, seed=self.seed + t)
            reached[t] = bool(found.success)
            if reached[t]:
                q[t] = found.q
                home = found.q.copy()
        return q, reached

    def _cost(self, q: np.ndarray, reached: np.ndarray, body: np.ndarray) -> tuple[float, float]:
        good = q[reached]
        if len(good) == 0:
            return (float(len(q)), np.inf)
        step = self._step(good[1:], good[:-1])
        jumps = int((step > 0.8).any(1).sum())  # a few frames of the clip lie further apart
        apart = [cKDTree(new).query(old)[0].mean() for new, old in zip(surface_points(self.robot, good), body[reached])]
        # metres from the old robot's surface: an arm that lies where the old one lay hides what was guessed behind it
        return (
            len(q) - len(good) + jumps + self._below(good),
            10 * float(np.mean(apart)) + float(step.mean() if len(step) else 0),
        )

    def _step(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(...,n) radians or metres between configurations; nothing for grippers, which may snap."""
        change = np.abs(a - b)
        turned = np.abs((a - b + np.pi) % (2 * np.pi) - np.pi)
        change = np.where(self.robot.continuous, turned, change)
        change[..., self.robot.gripper_joints] = 0
        return change

    def _below(self, q: np.ndarray) -> int:
        """Frames in which something that moves is as low as the base's plane."""
        mesh = self.robot.mesh
        use = self.moved[mesh.vertex_link]
        links = mesh.vertex_link[use]
        row = self.robot.link_poses(q)[:, links, 2]
        heights = np.einsum("tvj,vj->tv", row[..., :3], mesh.vertices[use]) + row[..., 3]
        return int((heights < np.array(FLOOR)[self.robot.part_of_link[links]]).any(1).sum())


def _shifted(targets: np.ndarray, shift: np.ndarray) -> np.ndarray:
    out = targets.copy()
    out[:, :3, 3] -= shift
    return out
