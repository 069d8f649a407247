"""Masks of the robot in one camera of a rig; pictures that are upside down are turned for the segmenter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from flows.files import sha256_json, write_json
from flows.progress import report
from flows.store import code_version
from flows.twin_job import TwinJob, picture_hash
from segmentation import load_segmenter, open_frames, write_mask
from segmentation.frames import Frames
from segmentation.segmenter import Segmenter
from segmentation.weights_store import DEFAULT_WEIGHTS, content_hash, find
from twin.rig import RigCamera

CODE = code_version("segmentation", "flows/twin_segment.py")
ASKED = 5  # frames by which it is told which way is up
CLEARER = 1.3  # times the robot, before a camera is taken to hang upside down


class Some(Frames):
    """Frames of some numbers, in their order; the others are decoded and passed over."""

    def __init__(self, frames: Frames, numbers: np.ndarray) -> None:
        self.name, self.fps = frames.name, frames.fps
        self.width, self.height = frames.width, frames.height
        self._frames, self._numbers = frames, [int(n) for n in numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def times(self) -> list[float]:
        times = self._frames.times
        return [times[n] for n in self._numbers]

    def _get(self, index: int) -> np.ndarray:
        return self._frames[self._numbers[index]]

    def __iter__(self) -> Iterator[np.ndarray]:
        wanted = set(self._numbers)
        return (image for n, image in enumerate(self._frames) if n in wanted)


class Turned(Frames):
    """Frames turned clockwise by quarters."""

    def __init__(self, frames: Frames, quarters: int) -> None:
        self.name, self.fps = frames.name, frames.fps
        size = frames.width, frames.height
        self.width, self.height = size if quarters % 2 == 0 else size[::-1]
        self._frames, self._quarters = frames, quarters

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def times(self) -> list[float]:
        return self._frames.times

    def _get(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(self._frames[index], -self._quarters))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (np.ascontiguousarray(np.rot90(image, -self._quarters)) for image in self._frames)


def camera_key(job: TwinJob, camera: RigCamera) -> str:
    """The camera's pictures and the segmenter."""
    weights = content_hash(find(job.weights)) + (" several" if job.weights == "several" else "")
    how = {"turn": camera.rotation, "every": job.every, "frames": _frames_of(job, camera.name)}
    return sha256_json({"code": CODE, "weights": weights, "pictures": picture_hash(camera), **how})


def _frames_of(job: TwinJob, name: str) -> np.ndarray | None:
    chosen = job.chosen()
    return None if chosen is None else chosen[job.open_rig().names.index(name)]


def segment_camera(job: TwinJob, out: Path) -> None:
    """Write masks/robot (arm and gripper, too, where the segmenter tells them) of the job's camera.

    Masks go by their frames' numbers: where only some frames get them, the others' are missing.

    Raises:
        VideoError, WeightsError: an input that cannot be used.
    """
    camera = job.camera()
    frames = open_frames(camera.open())
    numbers = _frames_of(job, camera.name)
    count = len(camera.times) if numbers is None else len(numbers)
    if numbers is not None:
        frames = Some(frames, numbers)
    segmenter = _segmenter(job.weights, content_hash(find(job.weights)))
    quarters = camera.rotation // 90
    if quarters == 0 and find(job.weights) == DEFAULT_WEIGHTS:
        quarters = _upright(segmenter, frames)
    source = frames if quarters == 0 else Turned(frames, quarters)
    name, done = f"segment {camera.name}", 0
    for index, probabilities in segmenter.track(source):
        for part, probability in probabilities.items():
            number = index if numbers is None else int(numbers[index])
            write_mask(out / "masks", part, number, np.rot90(probability, quarters))
        done += 1
        report(name, done, max(count, done))
    write_json(out / "turned.json", {"degrees": 90 * quarters})


@lru_cache(maxsize=1)
def _segmenter(weights: str, content: str) -> Segmenter:
    """Loaded once for all the cameras that a process segments."""
    return load_segmenter(weights)


def _upright(segmenter: Segmenter, frames: Frames) -> int:
    """Quarters by which pictures must be turned: 2 where much more of a robot is seen upside down, else 0."""
    some = np.unique(np.linspace(0, len(frames) - 1, min(ASKED, len(frames))).round().astype(int))
    pictures = [frames[int(t)] for t in some]
    shares = []
    for quarters in (0, 2):
        turned = [np.ascontiguousarray(np.rot90(picture, quarters)) for picture in pictures]
        masks = segmenter.segment(turned)
        shares.append(sum(float(np.maximum.reduce(list(m.values())).mean()) for m in masks))
    return 2 if shares[1] > CLEARER * shares[0] else 0
