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

LOOKED_AT = 6  # frames in which other branches are looked for
FOLLOWED = 4  # of them, at most, through the clip
APART = 0.2  # radians: a branch differs by this in some joint
WORSE = 15.0  # cost by which a frame of another branch may be worse than the known one
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
    wrist = np.zeros(len(tracker.free), bool)
    wrist[arm[-LAST:]] = True
    searcher = replace(tracker, free=tracker.free & wrist)
    index = [t for t, frame in enumerate(frames) if frame is not None]
    if not searcher.free.any() or len(index) < 3:
        return frames
    looked = [index[i] for i in np.unique(np.linspace(0, len(index) - 1, LOOKED_AT + 2).round().astype(int)[1:-1])]
    starts: list[tuple[float, int, np.ndarray]] = []
    for t in looked:
        q = _joints(frames, t)
        target = shrink(targets.read(t, FINE.width), tracker.levels[1])
        known = _cost(tracker, q, target)
        for start in searcher.search(q, targets.read(t, FINE.width), rng, 0.8):
            other, _ = tracker.refine(start, [target] * 2, 1, 2)
            cost = _cost(tracker, other, target)
            if np.abs(other - q)[arm].max() > APART and cost < known + WORSE:
                starts.append((cost - known, t, other))
    starts.sort(key=lambda one: one[0])
    best, total = frames, _total(targets, tracker, frames, looked)
    tried = 0
    for _, t, q in starts:
        if tried == FOLLOWED:
            break
        if np.abs(_joints(best, t) - q)[arm].max() < APART:  # where an adopted branch goes anyway
            continue
        tried += 1
        followed = _follow(targets, tracker, index, t, q, near, len(frames))
        value = _total(targets, tracker, followed, looked)
        if value < total - BETTER:
            best, total = followed, value
    return best


def _joints(frames: list[Frame | None], t: int) -> np.ndarray:
    frame = frames[t]
    assert frame is not None
    return frame.q


def _cost(tracker: Tracker, q: np.ndarray, target: np.ndarray) -> float:
    at = tracker.models[1], q, tracker.views[1], target, tracker.channels, tracker.levels[1]
    return evaluate(*at, None, tracker.trust[1]).cost


def _follow(
    targets: Targets, tracker: Tracker, index: list[int], start: int, q: np.ndarray,
    near: Callable[[np.ndarray], Near], count: int,
) -> list[Frame | None]:  # fmt: skip
    """All frames from one on, both ways in time, on the middle level."""
    out: list[Frame | None] = [None] * count
    for order in (index[index.index(start) :], index[: index.index(start)][::-1]):
        before = [q]
        for t in order:
            target = shrink(targets.read(t, FINE.width), tracker.levels[1])
            ahead = [2 * before[0] - before[1]] if len(before) > 1 else []
            first = max([before[0], *ahead], key=lambda one: tracker.overlap(one, target))
            at, overlap = tracker.refine(np.clip(first, *tracker.limits), [target] * 2, 1, 2, near(before[0]))
            out[t] = Frame(at, overlap)
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
