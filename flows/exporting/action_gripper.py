"""Open or closed: events of a gripper out of its noisy opening.

A threshold alone flickers while the opening lingers near it. So there are two (hysteresis, as in a Schmitt trigger):
the state becomes closed below the lower and open above the upper one, and what lasts less than `hold` seconds is
taken back (debouncing). Thresholds count from the least to the greatest opening of the clip, not of the gripper: one
that closes on an object stops half-way, and is closed.

Both are decided with the whole clip at hand, so an event is dated to the frame that passed the threshold: the lag of
debouncing is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GripperSettings:
    """When a gripper counts as closed.

    Attributes:
        close_below, open_above: of the clip's range of openings, 0..1.
        hold: seconds that a state must last.
        least_range: fraction of full opening that the clip's range must span; below it nothing happens, and the
            state is what the mean says.
    """

    close_below: float = 0.35
    open_above: float = 0.65
    hold: float = 0.15
    least_range: float = 0.2


def gripper_states(times: np.ndarray, fraction: np.ndarray, settings: GripperSettings | None = None) -> np.ndarray:
    """(T,) True where the gripper is open, of its opening (T,) as a fraction with 1 = open, at `times` in seconds.

    Frames whose opening is NaN keep the state before them (the first ones: the state after). All True where no
    opening is known.
    """
    settings = settings or GripperSettings()
    times, fraction = np.asarray(times, float), np.asarray(fraction, float)
    known = np.isfinite(fraction)
    if not known.any():
        return np.ones(len(fraction), bool)
    low, high = np.percentile(fraction[known], [2, 98])
    if high - low < settings.least_range:
        return np.full(len(fraction), bool(fraction[known].mean() > 0.5))
    share = (fraction - low) / (high - low)
    votes = np.where(share > settings.open_above, 1, np.where(share < settings.close_below, 0, -1))  # NaN: -1
    decided = np.flatnonzero(votes >= 0)
    before = np.searchsorted(decided, np.arange(len(votes)), side="right") - 1
    states = votes[decided[np.maximum(before, 0)]] == 1
    return _debounce(times, states, settings.hold)


def gripper_events(times: np.ndarray, is_open: np.ndarray) -> list[tuple[float, str]]:
    """(seconds, "open" or "close") of every change of state; the time is that of the first frame of the new one."""
    changes = np.flatnonzero(np.diff(is_open.astype(int))) + 1
    return [(float(times[i]), "open" if is_open[i] else "close") for i in changes]


def _debounce(times: np.ndarray, states: np.ndarray, hold: float) -> np.ndarray:
    """Take back inner runs shorter than `hold`, the shortest first; the first and last run may be cut by the clip."""
    states = states.copy()
    while True:
        edges = np.flatnonzero(np.diff(states.astype(int))) + 1
        if len(edges) < 2:
            return states
        lengths = times[edges[1:]] - times[edges[:-1]]
        shortest = int(np.argmin(lengths))
        if lengths[shortest] >= hold:
            return states
        states[edges[shortest] : edges[shortest + 1]] ^= True
