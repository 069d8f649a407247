"""Frames whose joints are out of line with those about them, looked at once more from where the others lead.

A frame may fall into a neighbouring valley of its cost - a wrist that is seen end-on, turned by sixty degrees - though
the motion's own place in it explains the mask as well or better. One such frame bends a smooth motion over many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pose.solver import parallel
from pose.tracking import Frame

ODD = 0.15  # rad: off the line through frames before and after
BESIDE = (1, 2, 3)  # frames before and after, by which the line is drawn: the median of three, so that one may be odd
SLACK = 2.0  # cost by which the place in line may be dearer
PASSES = 2


def put_in_line(
    frames: Sequence[Frame | None], unit: np.ndarray, used: np.ndarray, look: Callable[[int, np.ndarray], Frame]
) -> list[Frame | None]:
    """The frames, those out of line where the others lead, if that explains them as well.

    Args:
        unit: (n,) of each joint's motion (`pose.over_time.liveliness`); used: (n,) joints that are asked.
        look: a frame fitted from joints (n,).
    """
    out = list(frames)
    for _ in range(PASSES):
        odd = []
        for t in range(len(out)):
            led = _led(out, t)
            if led is not None and (np.abs(_q(out, t) - led) / unit)[used].max(initial=0.0) > ODD:
                odd.append((t, led))
        changed = False
        for (t, _), found in zip(odd, parallel(lambda one: look(*one), odd)):
            before = out[t]
            assert before is not None
            if found.cost < before.cost + SLACK and (np.abs(found.q - before.q) / unit)[used].max() > ODD / 2:
                out[t], changed = found, True
        if not changed:
            break
    return out


def _led(frames: Sequence[Frame | None], t: int) -> np.ndarray | None:
    """Where the frames about t lead: between those before and after, at an end on from the two before it."""
    if frames[t] is None:
        return None
    led = []
    for d in BESIDE:
        for a, b in ((t - d, t + d), (t - d, t - 2 * d), (t + d, t + 2 * d)):
            if 0 <= min(a, b) and max(a, b) < len(frames) and frames[a] is not None and frames[b] is not None:
                beyond = (a < t) == (b < t)
                led.append(2 * _q(frames, a) - _q(frames, b) if beyond else (_q(frames, a) + _q(frames, b)) / 2)
                break
    return np.median(led, axis=0) if len(led) == len(BESIDE) else None


def _q(frames: Sequence[Frame | None], t: int) -> np.ndarray:
    frame = frames[t]
    assert frame is not None
    return frame.q
