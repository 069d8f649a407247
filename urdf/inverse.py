"""Inverse kinematics through pinocchio: joint angles that put a link at a pose, for single poses and trajectories.

Damped least squares (Wampler 1986; Levenberg-Marquardt) on the error twist in base axes, with the joints' limits as
an active set. A first descent also pulls the joints weakly to where they came from, which settles redundant ones; a
second one without the pull makes the pose exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from urdf.reference import Reference
from urdf.robot import Robot

PULL = 0.01  # metres and radians of pose error that a joint one radian away is worth
GUESSES = 100  # random configurations looked at for one that is tried
STEPS = 60  # of one descent
SMALL = 1e-9  # metres and radians, far below every tolerance: a descent ends here


@dataclass(frozen=True)
class Solution:
    """Joints for one target (no leading axis) or T of them.

    Attributes:
        q: (T,n) the best joints found, inside the limits; NaN where the target is.
        position_error, rotation_error: (T,) what is left, in metres and radians.
        success: (T,) bool, both errors within the tolerances.
    """

    q: np.ndarray
    position_error: np.ndarray
    rotation_error: np.ndarray
    success: np.ndarray


def inverse_kinematics(
    robot: Robot,
    T_base_link: np.ndarray,
    q0: np.ndarray | None = None,
    *,
    link: str | None = None,
    joints: Sequence[int] | None = None,
    restarts: int = 20,
    seed: int = 0,
    position_tolerance: float = 1e-4,
    rotation_tolerance: float = 1e-3,
) -> Solution:
    """Joints that put a link at given poses.

    Where a descent from q0 fails, the best of many random configurations are tried as well, and the nearest miss is
    returned if all fail. Joints that do not move the link keep their value in q0; redundant ones stay near it.

    Args:
        T_base_link: (4,4) or (T,4,4); rows that are not finite give NaN.
        q0: (n,) configuration to start from and stay near, which for targets after the first is the solution
            before; or (T,n), one for each target. The robot's rest pose if None.
        link: a name of `link_names`; the end effector if None.
        joints: columns of q that may move; all if None.
        restarts: random configurations tried.
        seed: of the random configurations.
        position_tolerance, rotation_tolerance: metres, radians.

    Raises:
        ValueError: wrong shapes, a target that is no rigid transform, q0 not finite, no such link or no joint that
            moves it.
    """
    targets, start = np.asarray(T_base_link, float), np.asarray(robot.rest if q0 is None else q0, float)
    _check(robot, targets, start)
    solver = _Solver(robot, robot.ee_link if link is None else link, joints)
    tolerance = np.array([position_tolerance, rotation_tolerance])
    rng = np.random.default_rng(seed)
    flat = targets.reshape(-1, 4, 4)
    q, errors = np.full((len(flat), start.shape[-1]), np.nan), np.full((len(flat), 2), np.nan)
    start = np.where(solver.free, robot.clip(start), start)
    for t in np.nonzero(np.isfinite(flat).all((1, 2)))[0]:
        home = start[t] if start.ndim == 2 else start
        best = solver.reach(flat[t], home, home)
        if not (best[1] <= tolerance).all():
            for other in solver.guesses(flat[t], home, rng, restarts):
                # no pull here: it would lead all of them into the same dead end
                best = min(best, solver.reach(flat[t], other), key=lambda found: float(np.hypot(*found[1])))
                if (best[1] <= tolerance).all():
                    nearer = solver.reach(flat[t], best[0], home)
                    best = nearer if (nearer[1] <= tolerance).all() else best
                    break
        q[t], errors[t] = best
        if start.ndim == 1 and (best[1] <= tolerance).all():
            start = best[0]
    success = np.asarray((errors <= tolerance).all(1))
    lead = targets.shape[:-2]
    metres, radians = errors.T.reshape(2, *lead)
    return Solution(q.reshape(*lead, q.shape[1]), metres, radians, np.reshape(success, lead))


def _check(robot: Robot, targets: np.ndarray, start: np.ndarray) -> None:
    count = len(robot.joint_names)
    if targets.ndim not in (2, 3) or targets.shape[-2:] != (4, 4):
        raise ValueError(f"targets have shape {targets.shape}; expected (4, 4) or (T, 4, 4)")
    shapes = [(count,), (len(targets), count)][: targets.ndim - 1]
    if start.shape not in shapes or not np.isfinite(start).all():
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"q0 has shape {start.shape}; expected {expected}, all finite")
    flat = targets.reshape(-1, 4, 4)
    R = flat[:, :3, :3]
    off = np.abs(R @ R.mT - np.eye(3)).max((1, 2)) + np.abs(flat[:, 3] - [0, 0, 0, 1]).max(1)
    with np.errstate(invalid="ignore"):
        bad = np.isfinite(flat).all((1, 2)) & ((off > 1e-3) | (np.linalg.det(np.nan_to_num(R)) < 0))
    if bad.any():
        raise ValueError(f"target {int(np.argmax(bad))} is no rigid transform; expected [R t; 0 0 0 1] with R R^T = 1")


class _Solver:
    """Descends to poses of one link with the joints that may move it; `free` (n,) says which these are."""

    def __init__(self, robot: Robot, link: str, joints: Sequence[int] | None) -> None:
        if link not in robot.link_names:
            raise ValueError(f"robot {robot.name} has no link {link!r}; see link_names")
        self.robot, self.row = robot, robot.link_names.index(link)
        self.reference = Reference(robot)
        self.frame = self.reference.frame(link)
        self.free = np.zeros(len(robot.joint_names), bool)
        row = self.row
        while row >= 0:
            if robot.tree.q_index[row] >= 0:
                self.free[robot.tree.q_index[row]] = True
            row = int(robot.tree.parent[row])
        if joints is not None:
            self.free &= np.isin(np.arange(len(self.free)), joints)
        if not self.free.any():
            raise ValueError(f"no joint that may move reaches link {link!r} of robot {robot.name}")
        self.lower = np.where(robot.continuous, -np.inf, robot.lower)
        self.upper = np.where(robot.continuous, np.inf, robot.upper)

    def guesses(self, target: np.ndarray, home: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count,n) those of many random configurations that come closest to the target, the closest first."""
        many = np.tile(home, (GUESSES * count, 1))
        many[:, self.free] = rng.uniform(self.robot.lower, self.robot.upper, many.shape)[:, self.free]
        T = self.robot.link_poses(many)[:, self.row]
        turn = np.arccos(np.clip((np.einsum("nij,ij->n", T[:, :3, :3], target[:3, :3]) - 1) / 2, -1, 1))
        far = np.hypot(np.linalg.norm(T[:, :3, 3] - target[:3, 3], axis=1), turn)
        return many[np.argsort(far)[:count]]

    def reach(
        self, target: np.ndarray, start: np.ndarray, home: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Joints, near home if one is given, and their errors (metres, radians)."""
        q = start if home is None else self._descend(target, start, home, PULL)
        q = self._descend(target, q, q, 0.0)
        error = self._miss(target, q)[0]
        return q, np.array([np.linalg.norm(error[:3]), np.linalg.norm(error[3:])])

    def _miss(self, target: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The error twist (6,) from the link to the target in base axes, and the Jacobian (6,n)."""
        import pinocchio

        pose, J = self.reference.pose_and_jacobian(q, self.frame)
        return np.r_[target[:3, 3] - pose.translation, pinocchio.log3(target[:3, :3] @ pose.rotation.T)], J

    def _descend(self, target: np.ndarray, q: np.ndarray, home: np.ndarray, pull: float) -> np.ndarray:
        """The minimum of |error|^2 + pull^2 |q - home|^2 inside the limits."""
        damping = 1e-3
        error, J = self._miss(target, q)
        cost = error @ error + pull**2 * ((q - home) @ (q - home))
        for _ in range(STEPS):
            if np.abs(error).max() < SMALL and not pull:
                break
            slope = J.T @ error - pull**2 * (q - home)  # downhill
            pushed = ((q <= self.lower) & (slope < 0)) | ((q >= self.upper) & (slope > 0))
            move = np.nonzero(self.free & ~pushed)[0]
            A = J[:, move]
            normal = A.T @ A + (pull**2 + damping) * np.eye(len(move))
            step = np.zeros_like(q)
            step[move] = np.linalg.solve(normal, slope[move])
            tried = np.minimum(np.maximum(q + step, self.lower), self.upper)
            next_error, next_J = self._miss(target, tried)
            next_cost = next_error @ next_error + pull**2 * ((tried - home) @ (tried - home))
            if next_cost >= cost:
                damping *= 10
                if damping > 1e6:
                    break
                continue
            settled = cost - next_cost < 1e-2 * next_cost if pull else cost - next_cost < 1e-3 * cost
            q, error, J, cost = tried, next_error, next_J, next_cost
            damping = max(damping / 10, 1e-9)
            if settled:
                break
        return q
