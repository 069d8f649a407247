"""Clips of the drawn robot as training sees them, small."""

from __future__ import annotations

from functools import cache

import numpy as np
from robotseg_reference import drawn_frame

from segmentation.training.sources import Frame

FRAMES = 5


@cache
def small_frame(t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (128,128,3) and masks of arm and gripper."""
    rgb, arm, gripper = (x[::8, ::8] for x in drawn_frame(t))
    return np.ascontiguousarray(rgb), arm, gripper


class DrawnClip:
    """128 pixels a side; labelled throughout or on the first frame alone."""

    def __init__(self, part: str = "robot", labels: int = FRAMES, rough: bool = False):
        self.part, self.labels, self.rough = part, labels, rough
        self.labelled = range(labels)

    def __len__(self) -> int:
        return FRAMES

    def __getitem__(self, index: int) -> Frame:
        rgb, arm, gripper = small_frame(index)
        mask = {"arm": arm, "gripper": gripper, "robot": arm | gripper}[self.part]
        known = index < self.labels
        guess = mask if self.rough and not known else None
        return Frame(rgb, mask.astype(np.uint8) if known else None, guess)


class Empty(DrawnClip):
    """Labelled, and shows no robot."""

    def __getitem__(self, index: int) -> Frame:
        frame = super().__getitem__(index)
        return Frame(frame.rgb, np.zeros(frame.rgb.shape[:2], np.uint8))


class Listed:
    """A source of given clips."""

    name = "drawn"

    def __init__(self, clips: list, pictures: bool = False):
        self.clips, self.pictures = clips, pictures

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> DrawnClip:
        return self.clips[index]
