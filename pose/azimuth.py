"""The oldest ambiguity of an arm on a table: turn the camera about the base's axis, turn the first joint back.

All that the first joint carries looks the same then; only the base itself tells. Where it is round, or out of the
picture, nothing does: the first joint's changes are seen, its value is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from scipy.spatial.transform import Rotation

from pose.kernel import Model

TOLD = 4.0  # rise of the cost, in variances of the masks, at which two standard deviations are reached
STEPS = np.deg2rad([1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 35.0, 60.0, 100.0, 150.0])


@dataclass(frozen=True)
class BaseAxis:
    """The first joint: its column of q, its axis and a point on it in the base frame."""

    column: int
    axis: np.ndarray
    point: np.ndarray

    def turn(self, T_cam_base: np.ndarray, q: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """Camera and joints (F,n) after the base has turned by an angle under an arm that stays."""
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(self.axis * angle).as_matrix()
        turn[:3, 3] = self.point - turn[:3, :3] @ self.point
        q = q.copy()
        q[:, self.column] -= angle
        return T_cam_base @ turn, q

    def direction(self, T_cam_base: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """(6,) camera twist about a pivot, in the camera's frame, that turns the base by a radian."""
        omega = T_cam_base[:3, :3] @ self.axis
        centre = T_cam_base[:3, :3] @ self.point + T_cam_base[:3, 3]
        return np.r_[omega, np.cross(omega, pivot - centre)]


def base_axis(model: Model, free: np.ndarray) -> BaseAxis | None:
    """The joint that turns all other moving links, if there is one and it is among the free ones (n,)."""
    moving = np.flatnonzero((model.kind > 0) & (model.q_index >= 0))
    if not len(moving):
        return None
    first = int(moving[0])
    carried = np.zeros(len(model.parent), bool)
    carried[first] = True
    for link in range(first + 1, len(model.parent)):
        carried[link] = carried[model.parent[link]]
    column = int(model.q_index[first])
    alone = carried[moving].all() and (model.q_index[moving] == column).sum() == 1
    if model.kind[first] != 1 or abs(model.multiplier[first]) != 1 or not (free[column] and alone):
        return None
    T = np.eye(4)
    chain, link = [], first
    while link >= 0:
        chain.append(link)
        link = int(model.parent[link])
    for link in reversed(chain):
        T = T @ model.origin[link]  # the links above do not move
    return BaseAxis(column, T[:3, :3] @ model.axis[first] * model.multiplier[first], T[:3, 3])


def minima(cost: Callable[[float], float]) -> list[float]:
    """Angles in radians, 0 and up to three more, at which a cost of turning the base has promising local minima."""
    angles = np.deg2rad(np.arange(-180, 180, 8.0))
    costs = np.array([cost(angle) for angle in angles])
    low = (costs <= np.roll(costs, 1)) & (costs <= np.roll(costs, -1)) & np.isfinite(costs) & (np.abs(angles) > 0.1)
    order = [i for i in np.argsort(costs) if low[i]]
    return [0.0, *(float(angles[i]) for i in order[:3] if costs[i] < 1.5 * costs[len(angles) // 2] + 50)]


def spread(cost: Callable[[float], float], allowed: Callable[[float], bool]) -> float:
    """Standard deviation in radians of the base's angle, from the cost of turning it; a circle's when nothing tells."""
    at_zero = cost(0.0)
    widths = []
    for sign in (-1.0, 1.0):
        steps = np.array(list(takewhile(allowed, sign * STEPS)))
        rises = [cost(step) - at_zero for step in steps]
        # the farthest that explains the masks as well: a round base's cost has humps on the way, which tell nothing
        last = max((i for i, rise in enumerate(rises) if rise <= TOLD), default=-1)
        inside = abs(steps[last]) if last >= 0 else 0.0
        if last + 1 < len(steps):  # up to the next step the cost rises like a parabola
            inside = max(inside, abs(steps[last + 1]) * np.sqrt(TOLD / rises[last + 1]))
        elif len(steps) == len(STEPS):
            inside = np.pi
        widths.append(inside)
    width = float(np.mean(widths))
    return width / 2 if width < 2.0 else np.pi / np.sqrt(3)
