"""Clocks of cameras that were not synchronised: the robot's motion shows by how much they differ.

How much of a mask changes a second rises and falls with the robot's speed, whatever side it is seen from; so does how
much a still camera's picture changes, which takes no masks. The shift at which two cameras' curves agree best is the
difference of their clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from twin.chosen import MasksAt
from twin.place_check import unrelated
from twin.rig import Rig

FARTHEST = 2.0  # seconds that clocks are looked for apart
RATE = 100.0  # samples a second of the curves
WIDTH = 96  # pixels at which masks are compared
SMOOTH = 0.05  # s: changes of masks flicker from frame to frame
TOLD = 0.6  # correlation from which the curves are believed to show the same motion
SHORTEST = 2.0  # s of common time
SYNCED = 0.6  # frames: clocks that differ by less are left alone
STILL = 0.3  # of the usual change: less is standing still
STEADY = 4.0  # grey levels: pixels of a shrunk picture that change by less have not changed


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


def picture_motion(pictures: Iterable[np.ndarray], times: np.ndarray) -> np.ndarray:
    """(T-1,) logarithm of how much a still camera's pictures (H,W,3) change a second, without what changes everywhere.

    Light and exposure change the whole picture, a robot some of it. How much depends on the side it is seen from, when
    it moves and when it stands does not: a logarithm gives the one less say, the other more.
    """
    curve, last = np.zeros(max(len(times) - 1, 0)), None
    for i, picture in enumerate(pictures):
        if i >= len(times):
            break
        height = max(1, round(WIDTH * picture.shape[0] / picture.shape[1]))
        small = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
        if last is not None:
            change = small - last
            change = np.abs(change - np.median(change))
            curve[i - 1] = np.maximum(change - STEADY, 0).mean() / max(times[i] - times[i - 1], 1e-3)
        last = small
    usual = np.median(curve[curve > 0]) if (curve > 0).any() else 1.0
    return np.log(curve + STILL * usual)


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


def mask_shifts(rig: Rig, masks: Sequence[Sequence[Mapping[str, np.ndarray]] | None]) -> list[float]:
    """Seconds to add to every camera's stamps by what its masks show: 0 where they tell nothing, or next to nothing.

    Masks of some frames only are too few to tell; then the pictures are asked.
    """
    if sum(m is not None for m in masks) < 2 or unrelated(rig):
        return [0.0] * len(rig)
    if any(isinstance(m, MasksAt) for m in masks):
        return picture_shifts(rig)
    return shifts(rig, [None if m is None else motion(m, camera.times) for m, camera in zip(masks, rig.cameras)])


def picture_shifts(rig: Rig, progress: Callable[[int], None] = lambda done: None) -> list[float]:
    """The same by what changes in the pictures; cameras that move are left alone.

    Raises:
        VideoError: pictures that cannot be read.
    """
    curves: list[np.ndarray | None] = []
    for camera in rig.cameras if len(rig) > 1 and not unrelated(rig) else ():
        still = camera.Ts_cam_base is None
        curves.append(picture_motion((frame.image for frame in camera.open()), camera.times) if still else None)
        progress(len(curves))
    return shifts(rig, curves) if curves else [0.0] * len(rig)


def shifts(rig: Rig, curves: Sequence[np.ndarray | None]) -> list[float]:
    """By how much every camera's clock is behind that of the first with a curve of its motion (T-1,)."""
    out = [0.0] * len(rig)
    first = next((v for v, curve in enumerate(curves) if curve is not None), None)
    for v, curve in enumerate(curves):
        if first is None or v == first or curve is None:
            continue
        times = rig.cameras[v].times
        found = clock_offset(curves[first], rig.cameras[first].times, curve, times)  # type: ignore[arg-type]
        frame = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        if found.told and abs(found.seconds) > SYNCED * frame:
            out[v] = found.seconds
    return out


def shifted(rig: Rig, seconds: Sequence[float]) -> Rig:
    """The rig with its clocks put forward, by camera."""
    return replace(rig, cameras=tuple(replace(c, offset=c.offset + s) for c, s in zip(rig.cameras, seconds)))
