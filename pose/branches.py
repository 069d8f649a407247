"""Other branches of a clip's motion: a wrist seen from afar fits its mask turned this way or that, frame by frame.

One frame cannot tell such branches apart, a clip often can: each branch is a smooth motion of its own, and the true one
explains all frames together better. Starts for other branches are bred in single frames, followed through the clip, and
adopted when the clip as a whole speaks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.evenly import evenly
from pose.solver import parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Near, Tracker

SEARCHED = 2, 3  # frames in which other branches are bred: spread over the clip, and explained worst
SLID = 10, 12  # at least so many frames, spread over the clip, and one in so many: there the last joints are turned by
TURNS = np.deg2rad([-60.0, -25.0, 25.0, 60.0])
FOLLOWED = 6, 50  # starts, at most, through the clip, and one more for each so many frames; two at a time
APART = 0.2  # radians: a branch differs by this in some joint
TOGETHER = 0.1  # radians: a branch that comes so near has joined the known one
WORSE = 5.0  # cost by which a frame of another branch may be worse than the known one
LOST = 40.0  # cost by which a branch may be worse than the known one on the way
COMPARED = 13  # frames, at most, in which a branch is compared with the known one
BETTER = 9.0  # cost by which it must be better there to be adopted
LAST = 4  # joints of the arm that branches differ in


def other_branches(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], arm: np.ndarray, near: Callable[[np.ndarray], Near],
    rng: np.random.Generator,
) -> list[Frame | None]:  # fmt: skip
    """The frames, on another branch wherever that explains them better.

    Args:
        frames: followed on the middle level.
        arm: columns of the arm's joints, base to wrist.
        near: where the next frame is expected, from this one's joints.
    """
    index = [t for t, frame in enumerate(frames) if frame is not None]
    if len(index) < 3:
        return frames
    for group in _groups(tracker, arm):
        searcher = replace(tracker, free=tracker.free & group)
        if not searcher.free.any():
            continue
        spread, worst = SEARCHED
        costs = [_frame(frames, t).cost for t in index]
        looked = {*_spread(index, spread + 2)[1:-1], *(index[i] for i in np.argsort(costs)[-worst:])}
        starts = [one for t in sorted(looked) for one in _bred(targets, tracker, searcher, frames, t, rng)]
        starts += [
            one
            for t in _spread(index, max(SLID[0], len(index) // SLID[1]))
            for one in _slid(targets, tracker, searcher, frames, t)
        ]
        frames = _adopt(targets, tracker, frames, index, sorted(starts, key=lambda one: one[0]), near)
    return frames


def _spread(index: list[int], count: int) -> list[int]:
    return [index[i] for i in evenly(len(index), count)]


def _groups(tracker: Tracker, arm: np.ndarray) -> list[np.ndarray]:
    """(n,) bool of the last joints of every chain of the arm: its wrist, its other wrist, its head."""
    model = tracker.models[0]
    columns = set(arm.tolist())
    above: dict[int, list[int]] = {}  # column to the columns from it up to the base
    for link in range(len(model.parent)):
        column = int(model.q_index[link])
        if column in columns and column not in above:
            chain, up = [column], int(model.parent[link])
            while up >= 0:
                if (over := int(model.q_index[up])) in columns and over not in chain:
                    chain.append(over)
                up = int(model.parent[up])
            above[column] = chain
    inner = {c for chain in above.values() for c in chain[1:]}
    groups = []
    for column in sorted(above.keys() - inner):
        group = np.zeros(len(tracker.free), bool)
        group[above[column][:LAST]] = True
        groups.append(group)
    return groups


def _bred(
    targets: Targets, tracker: Tracker, searcher: Tracker, frames: list[Frame | None], t: int, rng: np.random.Generator
) -> list[tuple[float, int, np.ndarray]]:
    """Up to two other ways to explain a frame about as well: (rise of its cost, frame, joints)."""
    starts = searcher.search(_frame(frames, t).q, targets.read(t, FINE.width), rng, 0.8)
    return _starts(targets, tracker, searcher, frames, t, starts)


def _slid(
    targets: Targets, tracker: Tracker, searcher: Tracker, frames: list[Frame | None], t: int
) -> list[tuple[float, int, np.ndarray]]:
    """The same with the last two joints turned."""
    starts = []
    for k in np.flatnonzero(searcher.free)[-2:]:
        for turn in TURNS:
            start = _frame(frames, t).q.copy()
            start[k] += turn
            if tracker.limits[0][k] <= start[k] <= tracker.limits[1][k]:
                starts.append(start)
    return _starts(targets, tracker, searcher, frames, t, starts)


def _starts(
    targets: Targets, tracker: Tracker, searcher: Tracker, frames: list[Frame | None], t: int, starts: list[np.ndarray]
) -> list[tuple[float, int, np.ndarray]]:
    q, target = _frame(frames, t).q, _middle(targets, tracker, t)
    known = tracker.cost(q, target)
    found = []
    for other in parallel(lambda start: tracker.refine(start, [target] * 2, 1, 2)[0], starts):
        cost = tracker.cost(other, target)
        if np.abs(other - q)[searcher.free].max() > APART and cost < known + WORSE:
            found.append((cost - known, t, other))
    return sorted(found, key=lambda one: one[0])[:2]


def _adopt(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], index: list[int],
    starts: list[tuple[float, int, np.ndarray]], near: Callable[[np.ndarray], Near],
) -> list[Frame | None]:  # fmt: skip
    """The frames, with branches followed from the most promising starts where these explain the clip better."""
    frames = list(frames)
    seen: list[dict[int, Frame]] = []
    for _ in range((FOLLOWED[0] + len(index) // FOLLOWED[1]) // 2):
        pair: list[tuple[int, np.ndarray]] = []
        while starts and len(pair) < 2:
            _, t, q = starts.pop(0)
            known = [branch[t].q for branch in seen if t in branch] + [p for s, p in pair if s == t]
            if all(np.abs(q - other)[tracker.free].max() > APART for other in [*known, _frame(frames, t).q]):
                pair.append((t, q))
        for branch in parallel(lambda one: _follow(targets, tracker, frames, index, one, near), pair):
            seen.append(branch.frames)
            if branch.ends and _gain(targets, tracker, frames, branch.frames) > BETTER:
                for t, frame in branch.frames.items():
                    frames[t] = frame
    return frames


def _middle(targets: Targets, tracker: Tracker, t: int) -> np.ndarray:
    return shrink(targets.read(t, FINE.width), tracker.levels[1])


def _frame(frames: Sequence[Frame | None], t: int) -> Frame:
    frame = frames[t]
    assert frame is not None
    return frame


@dataclass(frozen=True)
class Branch:
    """Frames on another branch; whether it ends well: where the known one is met, or the clip ends."""

    frames: dict[int, Frame]
    ends: bool


def _follow(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], index: list[int],
    start: tuple[int, np.ndarray], near: Callable[[np.ndarray], Near],
) -> Branch:  # fmt: skip
    """Frames from one and its joints on, both ways in time, as far as it is another branch and not a bad one."""
    out: dict[int, Frame] = {}
    begin = index.index(start[0])
    for order in (index[begin:], index[:begin][::-1]):
        before = [start[1]]
        worse = least = 0.0
        for t in order:
            target = _middle(targets, tracker, t)
            ahead = [2 * before[0] - before[1]] if len(before) > 1 else []
            first = max([before[0], *ahead], key=lambda one: tracker.overlap(one, target))
            at, seen = tracker.descend(np.clip(first, *tracker.limits), target, 1, near(before[0]))
            if np.abs(at - _frame(frames, t).q)[tracker.free].max() < TOGETHER:
                break
            out[t] = Frame(at, seen.iou, seen.cost)
            before = [at, before[0]]
            worse += seen.cost - _frame(frames, t).cost
            least = min(least, worse)
            if worse > least + LOST:
                return Branch(out, False)
    return Branch(out, True)


def _gain(targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], branch: dict[int, Frame]) -> float:
    """By how much a branch is cheaper than the frames, both refined on the finest level, in some frames of it."""
    if not branch:
        return 0.0
    last = len(tracker.levels) - 1

    def one(t: int) -> float:
        target = targets.read(t, FINE.width)
        known, other = (tracker.descend(frame.q, target, last)[1] for frame in (_frame(frames, t), branch[t]))
        return known.cost - other.cost

    return sum(parallel(one, _spread(sorted(branch), COMPARED)))
