"""Which frames of a rig are looked at: the same few for finding the robot, placing the cameras and taking it out.

Masks cost most of a twin's time, and a robot is placed no better by three hundred instants than by fifty. What is
fused at those instants knows the robot's joints as they were fitted, not as they lie between two fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from twin.rig import Rig
from twin.thin import stride_for

MaskSet = Sequence[Mapping[str, np.ndarray]]


class MasksAt(Sequence):
    """Masks of some frames of a camera, asked for by the camera's own frame numbers.

    Attributes:
        frames: (M,) rising, those that have masks.
    """

    def __init__(self, masks: MaskSet, frames: Sequence[int] | np.ndarray, count: int) -> None:
        """masks: M. count: of the camera's frames."""
        self.frames = np.asarray(frames, int)
        self._masks, self._count = masks, count
        self._at = {int(frame): i for i, frame in enumerate(self.frames)}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, frame: Any) -> Any:
        """The frame's masks; None where it has none."""
        if not 0 <= frame < self._count:
            raise IndexError(frame)
        return self._masks[self._at[int(frame)]] if int(frame) in self._at else None


def frames_with_masks(masks: MaskSet) -> np.ndarray:
    """Numbers (M,) of the frames that have masks, rising: of plain sequences all."""
    return masks.frames if isinstance(masks, MasksAt) else np.arange(len(masks))


def chosen_frames(rig: Rig, most: int) -> list[np.ndarray]:
    """By camera, the frames nearest to at most `most` instants, evenly spread; numbers (M,) rising.

    A camera that ran at another time than the others has frames of its own, evenly spread.
    """
    clock, frames = rig.instants()
    some = frames[:, :: stride_for([len(clock)], most)]
    chosen = []
    for row, camera in zip(some, rig.cameras):
        mine = np.unique(row[row >= 0])
        count = len(camera.times)
        chosen.append(mine if 2 * len(mine) >= len(row) else np.arange(0, count, stride_for([count], most)))
    return chosen


def masked_instants(rig: Rig, masks: Sequence[MaskSet], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) of at most `most` instants that have masks, and (V,T) the cameras' frames then, -1 for none."""
    seen = _with_masks(rig, masks)
    clock = seen.instants(rig.tolerance)[0]
    times = clock[:: stride_for([len(clock)], most)]
    return times, masked_at(rig, masks, times)


def masked_at(rig: Rig, masks: Sequence[MaskSet], times: np.ndarray) -> np.ndarray:
    """(V,T) numbers of the frames with masks nearest to times (T,), -1 where a camera has none near enough."""
    at = _with_masks(rig, masks).frames_at(times, rig.tolerance)
    numbers = [frames_with_masks(m) for m in masks]
    return np.array([np.where(row < 0, -1, mine[row]) for row, mine in zip(at, numbers)])


def _with_masks(rig: Rig, masks: Sequence[MaskSet]) -> Rig:
    """The clocks of the frames that have masks; pictures are not to be read from it."""
    cameras = []
    for camera, mine in zip(rig.cameras, masks):
        times = camera.times
        frames = frames_with_masks(mine)
        cameras.append(replace(camera, stamps=times[frames[frames < len(times)]] - camera.offset))
    return replace(rig, cameras=tuple(cameras))
