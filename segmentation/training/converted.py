"""Labelled videos and episodes as shards, which the compact network learns from: arm and gripper in one mask."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

import numpy as np

from segmentation.errors import TrainingError
from segmentation.training.episode_clips import EpisodeClip, EpisodeSource
from segmentation.training.shards import IGNORE, Sample, ShardSet, encode, write_shard
from segmentation.training.vrs_clips import FolderClip, FolderSource

PER_SHARD = 48
VideoClip = FolderClip | EpisodeClip


def as_shards(source: FolderSource | EpisodeSource, folder: Path, log: Callable[[str], None] = print) -> ShardSet:
    """Write the frames whose arm and gripper are known as shards into `folder`, all or none; those there are used.

    Raises:
        TrainingError: no such frame, as in RoboEngine, which labels whole robots only.
    """
    if not folder.is_dir():
        log(f"data: {source.name} becomes shards in {folder}")
        temporary = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        temporary.mkdir(parents=True)
        samples = _samples(source)
        for k, first in enumerate(samples):
            write_shard(temporary / f"{k:05d}.tar", chain([first], islice(samples, PER_SHARD - 1)))
        if not any(temporary.iterdir()):
            raise TrainingError(
                f"{source.name}: no frame with masks of arm and gripper apart, which the compact network learns"
            )
        temporary.rename(folder)
    return ShardSet(folder)


def _samples(source: FolderSource | EpisodeSource) -> Iterator[Sample]:
    videos: Iterator[Mapping[str, VideoClip]] = source.videos()
    for k, clips in enumerate(videos):
        for index in sorted({i + clip.first for clip in clips.values() for i in clip.labelled}):
            found = _frame(clips, index)
            if found is not None:
                yield encode(*found, clip=f"v{k:06d}", frame=index, source="labelled")


def _frame(clips: Mapping[str, VideoClip], index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Picture and part mask of frame `index` of the video; None where arm and gripper are not both known."""
    frames = {part: clip[index - clip.first] for part, clip in clips.items() if index - clip.first in clip.labelled}
    masks = {part: frame.mask for part, frame in frames.items() if frame.mask is not None}
    arm, gripper, robot = (masks.get(part) for part in ("arm", "gripper", "robot"))
    if arm is None and gripper is not None and robot is not None:
        arm = robot & (1 - gripper)
    if gripper is None and arm is not None and robot is not None:
        gripper = robot & (1 - arm)
    if arm is None or gripper is None:
        return None
    part = np.where(gripper == 1, 2, arm).astype(np.uint8)
    if robot is not None:
        part[(robot == 1) & (part == 0)] = IGNORE  # robot, but which part?
    return next(iter(frames.values())).rgb, part
