"""Other branches of a clip's motion: a wrist seen from afar fits its mask turned this way or that, frame by frame.

One frame cannot tell such branches apart, a clip often can: each branch is a smooth motion of its own, and the true one
explains all frames together better. Starts for other branches are bred in single frames, followed through the clip, and
adopted when the clip as a whole speaks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pose.solver import evaluate, parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Near, Tracker

LOOKED_AT = 7  # frames in which other branches are looked for
WORST = 3  # of them those that are explained worst
FOLLOWED = 3  # of them, at most, through the clip
APART = 0.2  # radians: a branch differs by this in some joint
WORSE = 5.0  # cost by which a frame of another branch may be worse than the known one
BETTER = 9.0  # cost by which a clip must be better for its branch to be adopted
LAST = 4  # joints of the arm that branches differ in


def other_branches(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], arm: np.ndarray, near: Callable[[np.ndarray], Near],
    rng: np.random.Generator,
) -> list[Frame | None]:  # fmt: skip
    """The frames, on another branch where that explains the clip better.

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
        costs = [frames[t].cost for t in index]  # type: ignore[union-attr]
        spread = [index[i] for i in np.linspace(0, len(index) - 1, LOOKED_AT - WORST + 2).round().astype(int)[1:-1]]
        looked = sorted({*spread, *(index[i] for i in np.argsort(costs)[-WORST:])})
        starts: list[tuple[float, int, np.ndarray]] = []
        for t in looked:
            starts += _starts(targets, tracker, searcher, frames, t, rng)
        frames = _adopt(targets, tracker, frames, index, looked, starts, near)
    return frames


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


def _starts(
    targets: Targets, tracker: Tracker, searcher: Tracker, frames: list[Frame | None], t: int, rng: np.random.Generator
) -> list[tuple[float, int, np.ndarray]]:
    """Up to two other ways to explain a frame about as well: (rise of its cost, frame, joints)."""
    q, target = _joints(frames, t), _middle(targets, tracker, t)
    known = tracker.cost(q, target)
    found = []
    for start in searcher.search(q, targets.read(t, FINE.width), rng, 0.8):
        other, _ = tracker.refine(start, [target] * 2, 1, 2)
        cost = tracker.cost(other, target)
        if np.abs(other - q)[searcher.free].max() > APART and cost < known + WORSE:
            found.append((cost - known, t, other))
    return sorted(found, key=lambda one: one[0])[:2]


def _adopt(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], index: list[int], looked: list[int],
    starts: list[tuple[float, int, np.ndarray]], near: Callable[[np.ndarray], Near],
) -> list[Frame | None]:  # fmt: skip
    """The frames, or another branch followed from the most promising starts, whichever explains the clip better."""
    promising = sorted(starts, key=lambda one: one[0])[:FOLLOWED]
    branches = parallel(lambda one: _follow(targets, tracker, index, one[1], one[2], near, len(frames)), promising)
    best, total = frames, _total(targets, tracker, frames, looked)
    for branch in branches:
        value = _total(targets, tracker, branch, looked)
        if value < total - BETTER:
            best, total = branch, value
    return best


def _middle(targets: Targets, tracker: Tracker, t: int) -> np.ndarray:
    return shrink(targets.read(t, FINE.width), tracker.levels[1])


def _joints(frames: list[Frame | None], t: int) -> np.ndarray:
    frame = frames[t]
    assert frame is not None
    return frame.q


def _follow(
    targets: Targets, tracker: Tracker, index: list[int], start: int, q: np.ndarray,
    near: Callable[[np.ndarray], Near], count: int,
) -> list[Frame | None]:  # fmt: skip
    """All frames from one on, both ways in time, on the middle level."""
    out: list[Frame | None] = [None] * count
    for order in (index[index.index(start) :], index[: index.index(start)][::-1]):
        before = [q]
        for t in order:
            target = _middle(targets, tracker, t)
            ahead = [2 * before[0] - before[1]] if len(before) > 1 else []
            first = max([before[0], *ahead], key=lambda one: tracker.overlap(one, target))
            at, overlap = tracker.refine(np.clip(first, *tracker.limits), [target] * 2, 1, 2, near(before[0]))
            out[t] = Frame(at, overlap, tracker.cost(at, target))
            before = [at, before[0]]
    return out


def _total(targets: Targets, tracker: Tracker, frames: list[Frame | None], looked: list[int]) -> float:
    """Cost of the looked-at frames and those half way between them, refined on the finest level."""
    last = len(tracker.levels) - 1
    between = [(a + b) // 2 for a, b in pairwise(looked)]
    used = [t for t in sorted({*looked, *between}) if frames[t] is not None]

    def one(t: int) -> float:
        target = targets.read(t, FINE.width)
        q, _ = tracker.refine(_joints(frames, t), [target] * (last + 1), last)
        at = tracker.models[last], q, tracker.views[last], target, tracker.channels, tracker.levels[last]
        return evaluate(*at, None, tracker.trust[last]).cost

    return sum(parallel(one, used))
