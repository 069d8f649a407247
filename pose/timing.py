"""By how much a joint log is late: joints and pictures are often stamped by two clocks.

The joints of the picture at time t are those that the log has at t + offset. The offset is one more unknown beside the
camera: the derivative of a picture by it is its derivative by the joints times their velocity. A robot that stands
still tells nothing about it, and the standard deviation says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.evenly import evenly
from pose.kernel import CAMERA_PARAMETERS, link_poses
from pose.solver import CHANNELS, OFFSET, SHARED, Equations, View, evaluate, move, parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, MIDDLE, Tracker
from pose.uncertainty import misfit

FARTHEST = 1.0  # seconds that clocks are looked for apart
STARTS = 9
TOLD = 0.1  # s: an offset with a larger standard deviation is not observable
SAMPLE = 16  # frames


@dataclass(frozen=True)
class Log:
    """Joints (M,n) at times (M,), linear in between, held beyond the ends."""

    q: np.ndarray
    times: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """(T,n) joints."""
        return np.stack([np.interp(times, self.times, column) for column in self.q.T], 1)

    def speed(self, times: np.ndarray, step: float) -> np.ndarray:
        """(T,n) joint velocities over a step in seconds."""
        return (self.at(times + step / 2) - self.at(times - step / 2)) / step


@dataclass(frozen=True)
class Timing:
    """The offset in seconds, its standard deviation, and the camera that goes with it."""

    offset: float
    sigma: float
    view: View

    @property
    def observable(self) -> bool:
        """Whether the clip tells the offset at all."""
        return self.sigma < TOLD


def align(
    targets: Targets, tracker: Tracker, seen: np.ndarray, log: Log, times: np.ndarray, camera: np.ndarray
) -> Timing:
    """Find the offset, together with what is unknown of the camera.

    Args:
        tracker: its views hold the camera, or a start.
        seen: (T,) frames that show the robot.
        times: (T,) of the frames, in seconds.
        camera: (7,) which camera parameters are free.
    """
    inside = seen & (times - FARTHEST >= log.times[0]) & (times + FARTHEST <= log.times[-1])
    index = np.flatnonzero(inside if inside.sum() >= 6 else seen)
    used = index[evenly(len(index), SAMPLE)]
    fine = [targets.read(int(t), FINE.width) for t in used]
    free = np.r_[camera, np.zeros(CHANNELS), 1].astype(bool)
    step = float(np.median(np.diff(log.times)))
    middle = _Clip(tracker, 1, [shrink(target, MIDDLE) for target in fine], log, times[used], step)
    ends = [middle.descend(start, tracker.views[1], free, 12) for start in np.linspace(-FARTHEST, FARTHEST, STARTS) / 2]
    offset, view, _ = min(ends, key=lambda end: end[2])
    finest = _Clip(tracker, 2, fine, log, times[used], step)
    K = tracker.views[2].K.copy()
    for i in (0, 1):
        K[i, i] *= view.K[i, i] / tracker.views[1].K[i, i]
    free[CAMERA_PARAMETERS:SHARED] = True
    start = replace(tracker.views[2], K=K, T_cam_base=view.T_cam_base)
    offset, view, _ = finest.descend(offset, start, free, 12)
    return Timing(offset, finest.sigma(offset, view, free), view)


@dataclass(frozen=True)
class _Clip:
    """Some frames on one level, as functions of the offset and the camera."""

    tracker: Tracker
    level: int
    targets: Sequence[np.ndarray]
    log: Log
    times: np.ndarray
    step: float

    def look(self, offset: float, view: View, pivot: np.ndarray | None, exact: bool = False) -> list[Equations]:
        q = self.log.at(self.times + offset)
        model, level = self.tracker.models[self.level], self.tracker.levels[self.level]

        def one(f: int) -> Equations:
            return evaluate(model, q[f], view, self.targets[f], self.tracker.channels, level, pivot, None, exact)

        return parallel(one, range(len(q)))

    def pivot(self, offset: float, view: View) -> np.ndarray:
        rows = self.log.at(self.times + offset)
        points = [link_poses(self.tracker.models[0], q, view.T_cam_base)[0][:, :3, 3] for q in rows]
        return np.concatenate(points).mean(0)

    def equations(self, offset: float, view: View, each: Sequence[Equations], scale: np.ndarray):
        """H and g over camera, mask offsets and time."""
        speed = self.log.speed(self.times + offset, self.step)
        H, g = np.zeros((SHARED + 1,) * 2), np.zeros(SHARED + 1)
        for e, v, s in zip(each, speed, scale):
            A = np.zeros((len(e.g), SHARED + 1))
            A[:SHARED, :SHARED] = np.eye(SHARED)
            A[SHARED:, SHARED] = v
            H += A.T @ e.H @ A / s
            g += A.T @ e.g / s
        at = range(CAMERA_PARAMETERS, SHARED)
        H[at, at] += 1 / OFFSET**2
        g[at] += view.offset / OFFSET**2
        H[SHARED, SHARED] += 1 / FARTHEST**2
        g[SHARED] += offset / FARTHEST**2
        return H, g

    def total(self, offset: float, view: View, each: Sequence[Equations]) -> float:
        prior = float(((view.offset / OFFSET) ** 2).sum()) + (offset / FARTHEST) ** 2
        return prior + sum(e.cost for e in each)

    def descend(self, offset: float, view: View, free: np.ndarray, iterations: int) -> tuple[float, View, float]:
        """Levenberg-Marquardt: offset, view and cost where it ends."""
        ones, damping = np.ones(len(self.targets)), 1e-2
        total = self.total(offset, view, self.look(offset, view, None))
        for _ in range(iterations):
            pivot = self.pivot(offset, view)
            H, g = self.equations(offset, view, self.look(offset, view, pivot), ones)
            active = np.flatnonzero(free & (np.diag(H) > 1e-9))
            for _ in range(5):
                A = H[np.ix_(active, active)]
                step = np.zeros(SHARED + 1)
                step[active] = -np.linalg.solve(A + damping * np.diag(np.diag(A)), g[active])
                step[SHARED] = np.clip(step[SHARED], -FARTHEST / 4, FARTHEST / 4)
                later = float(np.clip(offset + step[SHARED], -FARTHEST, FARTHEST))
                moved = move(view, step[:SHARED], pivot)
                new = self.total(later, moved, self.look(later, moved, None))
                if new < total:
                    break
                damping *= 5
            else:
                break
            gain = (total - new) / max(total, 1e-12)
            offset, view, total, damping = later, moved, new, max(1e-5, damping / 5)
            if gain < 1e-3:
                break
        return offset, view, total

    def sigma(self, offset: float, view: View, free: np.ndarray) -> float:
        """Standard deviation of the offset, for the noise that the misfit shows."""
        each = self.look(offset, view, self.pivot(offset, view), exact=True)
        level = self.tracker.levels[self.level]
        scale = np.array([misfit(e.cost, target, level) for e, target in zip(each, self.targets)])
        H, _ = self.equations(offset, view, each, scale)
        index = np.flatnonzero(free)
        return float(np.sqrt(np.linalg.pinv(H[np.ix_(index, index)], hermitian=True)[-1, -1]))
