"""Clocks of cameras that were not synchronised: the robot's motion shows by how much they differ.

How much of a mask changes a second rises and falls with the robot's speed, whatever side it is seen from. The shift at
which two cameras' curves agree best is the difference of their clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from twin.rig import Rig

FARTHEST = 2.0  # seconds that clocks are looked for apart
RATE = 100.0  # samples a second of the curves
WIDTH = 96  # pixels at which masks are compared
SMOOTH = 0.05  # s: changes of masks flicker from frame to frame
TOLD = 0.6  # correlation from which the curves are believed to show the same motion
SHORTEST = 2.0  # s of common time


@dataclass(frozen=True)
class Offset:
    """seconds to add to a camera's stamps to agree with the first camera's; how well the curves agree then (-1..1)."""

    seconds: float
    agreement: float

    @property
    def told(self) -> bool:
        """Whether the motion tells it at all."""
        return self.agreement >= TOLD


def motion(masks: Sequence[Mapping[str, np.ndarray]], times: np.ndarray) -> np.ndarray:
    """(T-1,) share of the robot's mask that changes a second, between each frame and the next."""
    curve, last = np.zeros(max(len(times) - 1, 0)), None
    for i in range(len(times)):
        mask = masks[i]
        robot = mask["robot"] if "robot" in mask else np.maximum(mask["arm"], mask["gripper"])
        height = max(1, round(WIDTH * robot.shape[0] / robot.shape[1]))
        small = cv2.resize((np.asarray(robot) != 0).astype(np.float32), (WIDTH, height), interpolation=cv2.INTER_AREA)
        if last is not None:
            area = max((small.sum() + last.sum()) / 2, 1.0)
            curve[i - 1] = np.abs(small - last).sum() / area / max(times[i] - times[i - 1], 1e-3)
        last = small
    return curve


def clock_offset(curve: np.ndarray, times: np.ndarray, other: np.ndarray, other_times: np.ndarray) -> Offset:
    """By how much the second camera's clock must be put forward.

    Args:
        curve, other: (T-1,), (S-1,) from `motion`. times, other_times: (T,), (S,) seconds.

    Returns:
        The offset within +-2 s, to a fraction of a frame; agreement 0 where nothing moves or too little is common.
    """
    middle, other_middle = (times[1:] + times[:-1]) / 2, (other_times[1:] + other_times[:-1]) / 2
    if len(middle) < 8 or len(other_middle) < 8 or min(np.ptp(middle), np.ptp(other_middle)) < SHORTEST:
        return Offset(0.0, 0.0)
    lags = np.arange(-FARTHEST, FARTHEST + 1e-9, 1 / RATE)
    scores = np.array([_agreement(middle, curve, other_middle + lag, other) for lag in lags])
    best = int(scores.argmax())
    shift = 0.0
    if 0 < best < len(lags) - 1 and np.isfinite(scores[best - 1 : best + 2]).all():
        left, top, right = scores[best - 1 : best + 2]  # the peak of the parabola through three samples
        bend = left - 2 * top + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return Offset(float(lags[best] + shift / RATE), float(max(scores[best], 0.0)))


def _agreement(times: np.ndarray, curve: np.ndarray, other_times: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two curves over the time that both cover, on a common clock; -1 where that is too short."""
    low, high = max(times[0], other_times[0]), min(times[-1], other_times[-1])
    if high - low < SHORTEST:
        return -1.0
    clock = np.arange(low, high, 1 / RATE)
    a, b = (_smoothed(np.interp(clock, t, c)) for t, c in ((times, curve), (other_times, other)))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-9 else -1.0


def _smoothed(curve: np.ndarray) -> np.ndarray:
    width = SMOOTH * RATE
    kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
    return np.convolve(np.pad(curve, len(kernel) // 2, "edge"), kernel / kernel.sum(), "valid")


def clock_offsets(rig: Rig, masks: Sequence[Sequence[Mapping[str, np.ndarray]] | None]) -> list[Offset | None]:
    """Of every camera against the first that has masks; None for cameras without, zero for that first one."""
    curves = [None if m is None else motion(m, camera.times) for m, camera in zip(masks, rig.cameras)]
    first = next((v for v, curve in enumerate(curves) if curve is not None), None)
    out: list[Offset | None] = []
    for v, curve in enumerate(curves):
        main = None if first is None else curves[first]
        if curve is None or main is None or first is None:
            out.append(None)
        elif v == first:
            out.append(Offset(0.0, 1.0))
        else:
            out.append(clock_offset(main, rig.cameras[first].times, curve, rig.cameras[v].times))
    return out
