"""VRS and RoboEngine as clips to train on.

As `segmentation.vrs` describes them; in `train/` there are masks of first frames, and VRS has beside `mask_gt/` a
`mask_gt_dinov3/` with guesses of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from segmentation.errors import MaskError, TrainingError
from segmentation.mask_sets import match, open_masks
from segmentation.pictures import read_mask
from segmentation.training.sources import PARTS, Frame
from segmentation.vrs import LabelledVideo, LabelledVideos

ROUGH = "mask_gt_dinov3"
SPLIT = "train"  # the folder that is looked into where there is no image/


@dataclass(frozen=True)
class FolderClip:
    """A part of a labelled video, from its first labelled frame on."""

    video: LabelledVideo
    part: str
    rough: dict[int, Path]  # by index in the video
    first: int

    @property
    def labelled(self) -> Sequence[int]:
        """Frames with a true mask."""
        return [i - self.first for i in self.video.masks[self.part]]

    def __len__(self) -> int:
        return len(self.video) - self.first

    def __getitem__(self, index: int) -> Frame:
        i = index + self.first
        truth = self.video.truth(self.part, i)
        rough = read_mask(self.rough[i]) if i in self.rough and truth is None else None
        if rough is not None and rough.shape != self.video.size:
            raise MaskError(f"{self.rough[i]}: another size than its video's frames")
        return Frame(self.video[i], None if truth is None else truth.astype(np.uint8), rough)


class FolderSource:
    """VRS or RoboEngine: every video and part that has a mask is a clip.

    A part of a video without a mask is left out, and so is a listed video that is not there; `log` is told how many.
    (The original takes a missing mask for one that covers the whole picture.)
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None, log: Callable[[str], None] = print):
        self._videos = LabelledVideos(path, SPLIT)
        self.name, self.pictures = str(path), self._videos.kind == "roboengine"
        there = set(self._videos.names)
        listed = list(self._videos.names) if names is None else [name for name in names if name in there]
        self._clips: list[tuple[str, str]] = []
        empty: list[str] = []
        for name in listed:
            folder = self._videos.mask_root / name
            files = open_masks(folder).files if folder.is_dir() else {"robot": {name: folder}}
            parts = [part for part in PARTS if files.get(part)]
            self._clips += [(name, part) for part in parts]
            empty += [] if parts else [name]
        if names is not None and len(listed) < len(names):
            missing = [name for name in names if name not in there]
            log(f"{path}: {len(missing)} of {len(names)} listed videos have no masks here ({missing[0]}, ...)")
        if empty:
            log(f"{path}: {len(empty)} videos without any mask are left out ({empty[0]}, ...)")
        if not self._clips:
            raise TrainingError(f"{path}: no video with a mask" + (" in the list" if names is not None else ""))
        self._open = lru_cache(maxsize=32)(self._videos.open)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> FolderClip:
        name, part = self._clips[index]
        video = self._open(name)
        return FolderClip(video, part, self._rough(video, part), min(video.masks[part]))

    def videos(self) -> Iterator[dict[str, FolderClip]]:
        """The clips of every video, by part."""
        indices = range(len(self))
        for _, group in groupby(indices, key=lambda i: self._clips[i][0]):
            yield {self._clips[i][1]: self[i] for i in group}

    def _rough(self, video: LabelledVideo, part: str) -> dict[int, Path]:
        folder = self._videos.root / ROUGH / video.name
        if not folder.is_dir():
            return {}
        files = open_masks(folder).files.get(part, {})
        stems = {file.stem: i for i, file in enumerate(video.images)}
        pairs = match(files, {file.stem: file for file in video.images})
        return {stems[image.stem]: files[stem] for stem, image in pairs.items() if image is not None}
