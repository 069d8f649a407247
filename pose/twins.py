"""Joints that look nearly the same after a turn: the better of a clip and its twin, and how far the two can be told.

A hand turned by half a turn, a tool with three like jaws by a third, a round head by any angle leave nearly the same
picture in every frame. A fit may have begun in the wrong one and followed it to the end; and where the twin is hardly
dearer, which of them is true is not known, however sharp each of them is by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.evenly import evenly
from pose.settle import Shared
from pose.solver import View, evaluate, parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Tracker
from pose.uncertainty import misfit
from pose.whereabouts import Range
from urdf import Robot

LOOKED_AT = 8  # frames
STEP = np.deg2rad(15.0)  # turns less apart are one
LEAST = np.deg2rad(25.0)  # a smaller turn is no twin
NEAR, SLACK = 1.5, 50.0  # times the cost, and this much more, at which a turn is worth following
BETTER = 9.0  # cost by which a twin must be better to be taken


@dataclass(frozen=True)
class Turn:
    """A joint's column and by how much (rad) it may be mistaken in all frames."""

    column: int
    angle: float


def last_joints(robot: Robot) -> list[int]:
    """Columns of the arm's turning joints that move no other one: the last of the wrist, a head."""
    tree = robot.tree
    arm = {int(k) for k in robot.arm_joints}
    inner = set()
    for link in range(len(tree.parent)):
        up = int(tree.parent[link])
        while int(tree.q_index[link]) in arm and up >= 0:
            if tree.q_index[up] != tree.q_index[link]:
                inner.add(int(tree.q_index[up]))
            up = int(tree.parent[up])
    turning = {int(k) for k in tree.q_index[(tree.kind == 1) & (tree.q_index >= 0)]}
    return sorted((arm & turning) - inner)


def likely_turns(
    tracker: Tracker, frames: Sequence[Frame | None], ranges: Mapping[int, Range], labelled: Sequence[tuple[int, float]]
) -> list[Turn]:
    """Turns that may explain a clip as well: what the robot is labelled with, and minima of the cost of turning.

    Args:
        ranges: of the last joints' columns (`pose.whereabouts.look_around`).
    """
    chosen = _some(frames)
    out = [Turn(k, sign * angle) for k, angle in labelled for sign in (-1, 1) if tracker.free[k]]
    for k, around in ranges.items():
        costs = around.circle.sum(0)
        angles = 2 * np.pi * np.arange(len(costs)) / len(costs)
        low = (costs <= np.roll(costs, 1)) & (costs <= np.roll(costs, -1))
        low &= (costs < NEAR * costs[0] + SLACK) & (angles > LEAST) & (angles < 2 * np.pi - LEAST)
        # one turn and the same less a whole one are two: only one of them may lie within the limits
        for i in np.flatnonzero(low):
            out += [Turn(k, float(angles[i] - whole)) for whole in (0.0, 2 * np.pi)]
    kept: list[Turn] = []
    for turn in out:
        same = any(one.column == turn.column and abs(one.angle - turn.angle) < STEP for one in kept)
        if not same and _possible(tracker, chosen, turn):
            kept.append(turn)
    return kept


def turned_over(
    targets: Targets, tracker: Tracker, frames: list[Frame | None], turns: Sequence[Turn]
) -> list[Frame | None]:
    """The frames, or their twin where that explains the clip better."""
    chosen = _some(frames)
    rises = [(_rise(targets, tracker, tracker.views[-1], chosen, turn)[0], turn) for turn in turns]
    rise, turn = min(rises, key=lambda one: one[0], default=(0.0, None))
    if turn is None or rise > -BETTER:
        return frames

    def one(t: int) -> Frame | None:
        frame = frames[t]
        if frame is None:
            return None
        # on the finest level: on the middle one twins are too much alike to be led to the right one
        target = targets.read(t, FINE.width)
        q, _ = tracker.refine(_turn(tracker, frame.q, turn), [target] * len(tracker.levels), len(tracker.levels) - 1)
        middle = shrink(target, tracker.levels[1])
        return Frame(q, tracker.overlap(q, middle), tracker.cost(q, middle))

    return parallel(one, range(len(frames)))


def twin_deviations(
    targets: Targets, tracker: Tracker, frames: Sequence[Frame | None], used: Sequence[int], view: View,
    turns: Sequence[Turn], shared: Shared,
) -> np.ndarray:  # fmt: skip
    """(n,) standard deviation that each joint has because the clip may be its twin; 0 where it has none.

    From the rise D of the cost, which is the logarithm of how much less likely it is, the twin's share of the belief is
    1 / (1 + exp(D / 2)).

    Args:
        used: frames that what is shared rests on (`pose.settle.polish`), `view` what was settled.
    """
    out = np.zeros(len(tracker.free))
    chosen = [(t, frame) for t in used if (frame := frames[t]) is not None]
    for turn in turns:
        _, rise = _rise(targets, tracker, view, chosen, turn)
        share = 1 / (1 + np.exp(np.clip(shared.told * rise, 0.0, 100.0) / 2))
        out[turn.column] = max(out[turn.column], abs(turn.angle) * np.sqrt(share * (1 - share)))
    return out


def _some(frames: Sequence[Frame | None]) -> list[tuple[int, Frame]]:
    known = [(t, frame) for t, frame in enumerate(frames) if frame is not None]
    return [known[i] for i in evenly(len(known), LOOKED_AT)]


def _turn(tracker: Tracker, q: np.ndarray, turn: Turn) -> np.ndarray:
    q = q.copy()
    q[turn.column] += turn.angle
    return np.clip(q, *tracker.limits)


def _possible(tracker: Tracker, chosen: Sequence[tuple[int, Frame]], turn: Turn) -> bool:
    """Whether most frames stay within the joint's limits."""
    lower, upper = (limit[turn.column] for limit in tracker.limits)
    return np.mean([lower <= frame.q[turn.column] + turn.angle <= upper for _, frame in chosen]) > 0.7


def _cost(targets: Targets, tracker: Tracker, view: View, t: int, q: np.ndarray) -> float:
    target = targets.read(t, FINE.width)
    return evaluate(
        tracker.models[-1], q, view, target, tracker.channels, tracker.levels[-1], None, tracker.trust[-1]
    ).cost


def _rise(
    targets: Targets, tracker: Tracker, view: View, chosen: Sequence[tuple[int, Frame]], turn: Turn
) -> tuple[float, float]:
    """By how much frames cost more with a joint turned, both refined: as it is, and for the noise that each shows."""
    last = len(tracker.levels) - 1
    tracker = replace(tracker, views=(*tracker.views[:-1], view))

    def one(at: tuple[int, Frame]) -> tuple[float, float]:
        t, frame = at
        target = targets.read(t, FINE.width)
        costs = []
        for start in (frame.q, _turn(tracker, frame.q, turn)):
            q, _ = tracker.refine(start, [target] * (last + 1), last)
            costs.append(_cost(targets, tracker, view, t, q))
        return costs[1] - costs[0], (costs[1] - costs[0]) / misfit(costs[0], target, tracker.levels[-1])

    rises = np.array(parallel(one, chosen))
    return float(rises[:, 0].sum()), float(rises[:, 1].sum())
