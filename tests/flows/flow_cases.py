"""What the tests of flows share: the tiny clip and counters of the stand-ins."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pose.camera import Camera

FRAMES, FPS, EMPTY = 8, 10.0, (3, 4)  # in the frames EMPTY there is no robot
ARM_GREY, GRIPPER_GREY = 230, 30


@dataclass(frozen=True)
class Clip:
    """Files of a small video with its truth; masks are the exact ones."""

    folder: Path
    camera: Camera
    q: np.ndarray
    opening: np.ndarray

    @property
    def video(self) -> Path:
        return self.folder / "clip.mp4"

    @property
    def cam(self) -> Path:
        return self.folder / "cam.json"

    @property
    def masks(self) -> Path:
        return self.folder / "masks"


@dataclass
class Calls:
    """How often the expensive functions ran."""

    segment: int = 0
    fit: int = 0
    prompts: tuple = ()  # those the segmenter was last given
    fail: list[Exception] = field(default_factory=list)  # errors the fit raises, one a call


def read_json(path: Path) -> dict:
    """The content of a JSON file."""
    return json.loads(path.read_text())
