"""Frames that are explained worse than the others of their clip, looked at once more with their neighbours' help.

A track that has slipped onto a wrong way to hold the arm stays on it until the motion leads it off. Its frames tell:
they cost more than the others. From the frames beside them, which the track explains, they are searched again, nearest
first, so that what is found in one leads to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Tracker

DEAR, SLACK = 1.3, 9.0  # times the usual cost, and this much more: a frame is looked at again
SPREAD = 0.5  # rad: of the first guesses about the neighbour's joints
PATIENCE = 4  # frames in a row whose search brings nothing, after which no other is looked at


def mend(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], rng: np.random.Generator
) -> list[Frame | None]:
    """The frames, with other joints where these explain a dear frame as well as the others are.

    A mask that no joints explain so well, as that of an arm behind a box, leaves its frame as it was.

    Args:
        frames: followed on the middle level, None without a robot.
        rng: of the search.
    """
    out = list(frames)
    costs = {t: frame.cost for t, frame in enumerate(frames) if frame is not None}
    if not costs:
        return out
    limit = DEAR * float(np.median(list(costs.values()))) + SLACK
    dear = {t for t, cost in costs.items() if cost > limit}
    sound = set(costs) - dear
    in_vain = 0
    while dear and in_vain < PATIENCE:
        t, beside = min(((t, s) for t in dear for s in sound), key=lambda pair: abs(pair[0] - pair[1]))
        dear.remove(t)
        neighbour = out[beside]
        assert neighbour is not None
        found = _searched(tracker, neighbour.q, targets.read(t, FINE.width), rng)
        if found.cost <= limit:
            out[t], in_vain = found, 0
            sound.add(t)
        else:
            in_vain += 1
    return out


def _searched(tracker: Tracker, q: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Frame:
    """The cheapest way to explain a target (C,H,W) of the finest level with joints like q (n,)."""
    middle = shrink(target, tracker.levels[1])
    tried = []
    for start in (q, *tracker.search(q, target, rng, SPREAD)):
        joints, overlap = tracker.refine(start, [middle] * 2, 1, 2)
        tried.append(Frame(joints, overlap, tracker.cost(joints, middle)))
    return min(tried, key=lambda frame: frame.cost)
