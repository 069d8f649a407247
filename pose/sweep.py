"""Every frame of a clip fitted, outward in time from the frames whose joints are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose.branches import other_branches
from pose.hypotheses import mistakable
from pose.mending import mend
from pose.over_time import liveliness
from pose.problem import Problem
from pose.targets import shrink
from pose.tracking import FINE, MIDDLE, Frame, Near, Tracker
from pose.twins import last_joints, likely_turns, turned_over
from pose.whereabouts import look_around, roamed, spread

Progress = Callable[[str, int, int], None]
LEAP = 0.04  # of IoU that a pose must gain for which the arm would have moved faster than it can
USUAL_SPEED = 3.0  # rad/s, m/s; where the description states none
DEAR = 1.6  # times the usual cost: a frame is searched again
START_SPREAD = 0.5  # rad: how far a given start may be from the truth
SAME_BRANCH = 0.3  # rad: what a track that goes through known joints may miss them by
FOLLOW_SPREAD = 0.25  # rad: how far joints may move from one frame to the next


def sweep_clip(
    problem: Problem,
    tracker: Tracker,
    anchors: dict[int, np.ndarray],
    seen: np.ndarray,
    rng: np.random.Generator,
    say: Progress,
) -> list[Frame | None]:
    """Every frame fitted; where at most the first frame's joints are given, other ways to explain the clip are tried.

    Args:
        anchors: joints (n,) of some frames, to begin from.
        seen: (T,) frames that show a robot.
        rng: of the searches.
    """
    frames = _track(problem, tracker, anchors, seen, rng, say)
    if problem.q is not None and np.isfinite(np.delete(problem.q, problem.known, 0)).any():
        return frames
    unit = liveliness(problem.robot)
    known = {t: frames[t] for t in problem.known}
    branch = other_branches(
        problem.targets, tracker, frames, problem.robot.arm_joints, lambda q: Near(q, FOLLOW_SPREAD * unit), rng
    )  # fmt: skip
    if all(_together(frame, branch[t], unit) for t, frame in known.items()):
        frames = branch
    frames = mend(problem.targets, tracker, frames, rng)
    ends = [k for k in last_joints(problem.robot) if tracker.free[k]]
    frames = roamed(problem.targets, tracker, frames, ends, problem.known)
    if not known:
        some = spread(frames)
        ranges = {k: look_around(problem.targets, tracker, frames, some, k, fine=False) for k in ends}
        turns = likely_turns(tracker, frames, ranges, mistakable(problem.robot))
        frames = turned_over(problem.targets, tracker, frames, turns)
    for t, frame in known.items():
        frames[t] = frame
    return frames


def _track(problem: Problem, tracker: Tracker, anchors: dict[int, np.ndarray], seen, rng, say: Progress):
    """Fit every frame, outward in time from the frames whose joints are known."""
    count = len(problem.targets)
    frames: list[Frame | None] = [None] * count
    targets, robot = problem.targets, problem.robot
    unit = liveliness(robot)
    done = 0
    least, most = 1.0, 0.0  # IoU and cost at which searching again has brought nothing

    def given(t: int) -> np.ndarray | None:
        if problem.q is not None and np.isfinite(problem.q[t]).all():
            return problem.q[t]
        return None

    speed = np.where(np.isfinite(robot.velocity), robot.velocity, USUAL_SPEED)[robot.arm_joints]
    step = float(np.median(np.diff(problem.times))) if count > 1 else 1.0

    def leaps(before: np.ndarray, after: np.ndarray) -> bool:
        """Whether the arm would have to move faster than it can."""
        return bool((np.abs(after - before)[robot.arm_joints] > 2 * speed * step + 0.1).any())

    def visit(t: int, previous: list[np.ndarray]) -> np.ndarray | None:
        nonlocal done, least, most
        done += 1
        say("track", done, count)
        if not seen[t]:
            return None
        target = targets.read(t, FINE.width)
        own, anchor = given(t), anchors.get(t)
        previous = [problem.given(t, q) for q in previous]
        starts = [q for q in (own, *previous, anchor) if q is not None]
        if t in problem.known or not problem.free.any():
            assert own is not None
            frames[t] = _looked_at(tracker, own, target)
            return own
        if not starts:
            starts = tracker.search(problem.given(t, tracker.rest), target, rng, 0.8)
        # the pull settles what the masks leave open: a key frame that was solved alone may have its wrist turned round
        near = Near(previous[0], FOLLOW_SPREAD * unit) if previous else None
        if own is not None:
            near = Near(own, START_SPREAD * unit)
        usual, price = _usual(frames)
        q, overlap = tracker.fit(starts, target, near, 0.97 * usual if usual and anchor is None else 1.0)
        cost = tracker.cost(q, shrink(target, MIDDLE))
        if not usual or overlap < min(0.95 * usual, least) or cost > max(DEAR * price, most):
            again = tracker.search(q, target, rng, 0.3) + tracker.search(starts[0], target, rng, 0.4)
            other, value = tracker.fit(again, target, near)
            found = tracker.cost(other, shrink(target, MIDDLE))
            slipped = usual and cost > DEAR * price > found  # the track did: no motion leads back, but the masks do
            if slipped or value > overlap + (LEAP if previous and leaps(previous[0], other) else 0.0):
                q = other
            else:  # such masks are as well explained as they can be: do not search at each of their kind
                least, most = min(least, overlap), max(most, cost)
        frames[t] = _looked_at(tracker, q, target)
        return q

    def sweep(order: range, previous: list[np.ndarray]) -> None:
        for t in order:
            q = visit(t, previous)
            if q is None:
                continue
            # the next frame starts where this one ended, or where its motion leads
            ahead = [robot.clip(2 * q - previous[0])] if previous else []
            previous = [q, *ahead]

    begin = next((t for t in range(count) if seen[t] and given(t) is not None), None)
    if begin is None:
        begin = max(anchors, key=lambda t: tracker.overlap(anchors[t], targets.read(t, MIDDLE.width)), default=0)
    sweep(range(begin, count), [])
    first = frames[begin]
    sweep(range(begin - 1, -1, -1), [] if first is None else [first.q])
    return frames


def _together(frame: Frame | None, other: Frame | None, unit: np.ndarray) -> bool:
    """Whether two frames are on the same branch."""
    if frame is None or other is None:
        return frame is other
    return bool((np.abs(frame.q - other.q) < SAME_BRANCH * unit).all())


def _looked_at(tracker: Tracker, q: np.ndarray, target: np.ndarray) -> Frame:
    small = shrink(target, MIDDLE)
    return Frame(q, tracker.overlap(q, small), tracker.cost(q, small))


def _usual(frames: list[Frame | None]) -> tuple[float, float]:
    """Median IoU and cost of the frames so far; zeros when there are none."""
    known = [f for f in frames if f is not None]
    if not known:
        return 0.0, 0.0
    return float(np.median([f.iou for f in known])), float(np.median([f.cost for f in known]))
