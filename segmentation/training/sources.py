"""Where labelled clips come from: the form in which training sees them, and clips of shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from segmentation.training.shards import IGNORE, ShardSet, decode

PARTS = ("arm", "gripper", "robot")
VALUES = {"arm": (1,), "gripper": (2,), "robot": (1, 2)}  # of part masks in shards


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        rgb: (H,W,3) uint8.
        mask: (H,W) uint8 of the clip's part: 1 inside, 0 outside, 255 unknown; None where there is no label.
        rough: (H,W) bool, a mask that somebody guessed, good enough for the patch loss; None where there is none.
    """

    rgb: np.ndarray
    mask: np.ndarray | None = None
    rough: np.ndarray | None = None


class Clip(Protocol):
    """Frames that follow each other, with labels of one part of the robot for some of them."""

    @property
    def part(self) -> str:
        """arm, gripper or robot."""

    @property
    def labelled(self) -> Sequence[int]:
        """Frames with a mask, in order; at least one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...


class Source(Protocol):
    """Clips of one kind. `pictures`: clips of one frame each, of which many make a batch."""

    name: str
    pictures: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


@dataclass(frozen=True)
class ShardClip:
    """A clip of a shard; all of its frames are labelled."""

    shards: ShardSet
    frames: Sequence[int]
    part: str

    @property
    def labelled(self) -> Sequence[int]:
        """All."""
        return range(len(self.frames))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        rgb, part = decode(self.shards[self.frames[index]])
        mask = np.isin(part, VALUES[self.part]).astype(np.uint8)
        return Frame(rgb, np.where(part == IGNORE, np.uint8(IGNORE), mask))


class ShardSource:
    """Clips of shards, or their single pictures; every one counts three times, once for each part."""

    def __init__(self, shards: ShardSet, pictures: bool):
        self.name, self.pictures = "shards", pictures
        self._shards = shards
        self._clips = [clip for clip in shards.clips if (len(clip) == 1) == pictures]

    def __len__(self) -> int:
        return len(self._clips) * len(PARTS)

    def __getitem__(self, index: int) -> ShardClip:
        clip, part = divmod(index, len(PARTS))
        return ShardClip(self._shards, self._clips[clip], PARTS[part])
