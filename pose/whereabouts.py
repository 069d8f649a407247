"""Where a joint that moves no other one may be, over its whole range and the whole clip.

A head, a flange, a hand seen end-on: its outline changes little with its angle, the cost over that has several low
places in every frame, and low places of successive frames join to motions that are as smooth as the fitted one. Such a
joint can be looked at everywhere, since nothing else moves with it: its cost at every angle, and a bound on how far it
turns from frame to frame, make a chain whose likeliest path and whose belief in every frame are computed exactly.

Source: the forward-backward and the Viterbi algorithm; Rabiner, A tutorial on hidden Markov models (1989).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pose.evenly import evenly
from pose.solver import View, evaluate, parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Tracker
from pose.uncertainty import misfit

WHOLE = 2 * np.pi
LOOKS = 72  # angles looked at on a whole turn
LEAST_MOTION = np.deg2rad(5.0)  # standard deviation of the turn between two frames looked at, at least
LOOKED_AT = 16  # frames, when the likeliest path is asked for
UNLIKELY = 30.0  # cost, for the noise, by which an angle is worse on the middle level and not looked at on the finest
APART = np.deg2rad(25.0)  # by which it must differ somewhere to be tried
BETTER = 9.0  # cost by which it must then be better to be taken


@dataclass(frozen=True)
class Range:
    """The cost of a joint's angles in m frames, all else as fitted.

    Attributes:
        fitted: (m,) the angles that were fitted.
        circle: (m,LOOKS) costs after a turn by 0, 1, ... steps from there, whatever the limits.
        noise: (m,) by which to divide costs for the errors that the frames' masks show.
        limits: lower and upper.
        motion: standard deviation (rad) of its turn from one of these frames to the next.
    """

    fitted: np.ndarray
    circle: np.ndarray
    noise: np.ndarray
    limits: tuple[float, float]
    motion: float

    @cached_property
    def angles(self) -> np.ndarray:
        """(m,A) angles about the fitted ones, the same steps from them in every frame; some are beyond the limits."""
        return self.fitted[:, None] + self._steps * (WHOLE / LOOKS)

    @cached_property
    def costs(self) -> np.ndarray:
        """(m,A) of them, in units of the noise; infinite beyond the limits."""
        lower, upper = self.limits
        inside = (self.angles >= lower - 1e-9) & (self.angles <= upper + 1e-9)
        return np.where(inside, self._lowest()[:, self._steps % LOOKS] / self.noise[:, None], np.inf)

    @property
    def _steps(self) -> np.ndarray:
        count = int(np.ceil((self.limits[1] - self.limits[0]) * LOOKS / WHOLE))
        return np.arange(-count, count + 1)

    def path(self) -> np.ndarray:
        """(m,) the likeliest angles, all frames considered."""
        score = -self.costs[0] / 2
        came = []
        for t in range(1, len(self.costs)):
            ways = score[:, None] + self._turns(t)
            came.append(ways.argmax(0))
            score = ways.max(0) - self.costs[t] / 2
        chosen = [int(score.argmax())]
        for before in came[::-1]:
            chosen.append(int(before[chosen[-1]]))
        return self.angles[np.arange(len(self.angles)), chosen[::-1]]

    def deviation(self, told: float) -> np.ndarray:
        """(m,) root mean square by which the angles that are believed in differ from the fitted ones.

        Args:
            told: share of the frames' information that is news after the others.
        """
        seen = -told * self.costs / 2
        count = len(seen)
        ahead, back = [seen[0]], [np.zeros(seen.shape[1])]
        for t in range(1, count):
            ahead.append(np.logaddexp.reduce(ahead[-1][:, None] + self._turns(t)) + seen[t])
            last = count - t
            back.append(np.logaddexp.reduce((back[-1] + seen[last])[:, None] + self._turns(last).T))
        belief = np.array(ahead) + np.array(back[::-1])
        belief = np.exp(belief - belief.max(1, keepdims=True))
        belief /= belief.sum(1, keepdims=True)
        off = (self.angles - self.fitted[:, None] + np.pi) % WHOLE - np.pi  # a whole turn looks the same
        return np.sqrt((belief * off**2).sum(1))

    def _turns(self, t: int) -> np.ndarray:
        """(A,A) logarithm of how likely it turns from each angle of frame t - 1 to each of frame t."""
        return -(((self.angles[t] - self.angles[t - 1][:, None]) / self.motion) ** 2) / 2

    def _lowest(self) -> np.ndarray:
        """(m,LOOKS) the costs; of a low place between angles, its lowest, by the parabola through three of them."""
        left, at, right = np.roll(self.circle, 1, 1), self.circle, np.roll(self.circle, -1, 1)
        with np.errstate(invalid="ignore"):  # known joints have no other angles
            bend, lean = left + right - 2 * at, right - left
        low = (at <= left) & (at <= right) & (bend > 0) & np.isfinite(bend)
        return at - np.where(low, lean**2 / (8 * np.where(low, bend, 1.0)), 0.0)


def look_around(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], used: Sequence[int], k: int, *, fine: bool,
    view: View | None = None, known: Sequence[int] = (),
) -> Range:  # fmt: skip
    """Joint k looked at everywhere in the used frames.

    Args:
        fine: likely angles on the tracker's finest level, where likenesses can be told apart; else on the middle one.
        view: of the finest level, instead of the tracker's.
        known: frames whose joints are believed as they are.
    """
    last = len(tracker.levels) - 1
    q = np.stack([frame.q for t in used if (frame := frames[t]) is not None])

    def costs(i: int, row: np.ndarray, target: np.ndarray, turns: np.ndarray) -> np.ndarray:
        level, at = tracker.levels[i], view if view is not None and i == last else tracker.views[i]
        out = []
        for turn in turns:
            turned = row.copy()
            turned[k] += turn * WHOLE / LOOKS
            seen = tracker.models[i], turned, at, target, tracker.channels, level
            out.append(evaluate(*seen, trust=tracker.trust[i]).cost)
        return np.array(out)

    def one(job: tuple[int, np.ndarray]) -> tuple[np.ndarray, float]:
        t, row = job
        target = targets.read(t, FINE.width)
        middle = shrink(target, tracker.levels[1])
        circle = costs(1, row, middle, np.arange(LOOKS))
        noise = misfit(circle[0], middle, tracker.levels[1])
        if fine:
            likely = np.flatnonzero(circle < circle[0] + UNLIKELY * noise)
            sharp = costs(last, row, target, likely)
            circle += sharp[0] - circle[0]
            circle[likely] = sharp
            noise = misfit(circle[0], target, tracker.levels[last])
        if t in known:
            circle[1:] = np.inf
        return circle, noise

    circle, noise = (np.stack(both) for both in zip(*parallel(one, list(zip(used, q)))))
    others = tracker.free & (np.arange(q.shape[1]) != k)
    turned = np.diff(q, axis=0)[:, others]
    motion = float(np.sqrt((turned**2).mean())) if turned.size else 0.0
    limits = float(tracker.limits[0][k]), float(tracker.limits[1][k])
    return Range(q[:, k], circle, noise, limits, max(LEAST_MOTION, motion))


def wide_deviations(
    ranges: Mapping[int, Range], used: Sequence[int], told: float, shape: tuple[int, int]
) -> np.ndarray:
    """(T,n) standard deviation of the joints that were looked at everywhere; 0 for the others.

    Args:
        ranges: by column, in the used frames. told: as for `Range.deviation`. shape: (T,n).
    """
    out = np.zeros(shape)
    for k, around in ranges.items():
        out[:, k] = np.interp(np.arange(shape[0]), used, around.deviation(told))
    return out


def spread(frames: Sequence[Frame | None]) -> list[int]:
    """Some of the frames that there are, from first to last."""
    known = [t for t, frame in enumerate(frames) if frame is not None]
    return [known[i] for i in evenly(len(known), LOOKED_AT)]


def roamed(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], joints: Sequence[int], known: Sequence[int] = ()
) -> list[Frame | None]:
    """The frames, each of these joints on its likeliest path where that explains the clip better."""
    shown = [t for t, frame in enumerate(frames) if frame is not None and t not in known]
    used = spread(frames)
    for k in joints:
        path = look_around(targets, tracker, frames, used, k, fine=False, known=known).path()
        off = path - [frame.q[k] for t in used if (frame := frames[t]) is not None]
        off -= WHOLE * np.round(np.median(off) / WHOLE)
        if np.abs(off).max() < APART:
            continue
        turns = np.interp(np.arange(len(frames)), used, off)
        now, other = (_refined(targets, tracker, frames, used, k, turn) for turn in (np.zeros(len(frames)), turns))
        if sum(a.cost - b.cost for a, b in zip(now, other)) > BETTER:
            frames = list(frames)
            for t, frame in zip(shown, _refined(targets, tracker, frames, shown, k, turns)):
                small = shrink(targets.read(t, FINE.width), tracker.levels[1])
                frames[t] = replace(frame, iou=tracker.overlap(frame.q, small), cost=tracker.cost(frame.q, small))
    return frames


def _refined(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], chosen: Sequence[int], k: int, turns: np.ndarray
) -> list[Frame]:
    """The chosen frames, joint k turned in each, refined on the finest level: there likenesses can be told apart."""

    def one(t: int) -> Frame:
        frame = frames[t]
        assert frame is not None
        q = frame.q.copy()
        q[k] += turns[t]
        q, seen = tracker.descend(np.clip(q, *tracker.limits), targets.read(t, FINE.width), len(tracker.levels) - 1)
        return Frame(q, seen.iou, seen.cost)

    return parallel(one, chosen)
