"""Our own episodes as clips to train on: an episode (`urdfit run`) labels its video with the masks of valid frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segmentation.errors import MaskError, TrainingError
from segmentation.frames import Frames, open_frames
from segmentation.mask_sets import list_masks, open_masks
from segmentation.pictures import read_mask
from segmentation.training.sources import Frame
from segmentation.training.text_files import read_text

OWN_VIDEO = "video.mp4"


@dataclass(frozen=True)
class EpisodeClip:
    """A part of an episode, from its first valid frame on."""

    frames: Frames
    masks: dict[int, Path]  # of valid frames, by index in the video
    part: str
    first: int

    @property
    def labelled(self) -> Sequence[int]:
        """Valid frames."""
        return [i - self.first for i in self.masks]

    def __len__(self) -> int:
        return len(self.frames) - self.first

    def __getitem__(self, index: int) -> Frame:
        i = index + self.first
        rgb = self.frames[i]
        if i not in self.masks:
            return Frame(rgb)
        mask = read_mask(self.masks[i])
        if mask.shape != rgb.shape[:2]:
            raise MaskError(f"{self.masks[i]}: another size than its video's frames")
        return Frame(rgb, mask.astype(np.uint8))


class EpisodeSource:
    """Episodes whose own masks are taken for labels, on frames that the fit explains (`valid`).

    Episodes whose video is gone or changed, or without a valid frame, are left out; `log` is told.
    """

    pictures = False

    def __init__(self, folders: Sequence[Path], log: Callable[[str], None] = print):
        self.name = str(folders[0].parent if len(folders) > 1 else folders[0])
        self._clips: list[tuple[Path, Path, str, dict[int, Path]]] = []  # folder, video, part, masks
        for folder in folders:
            try:
                video, valid = _read_episode(folder)
            except TrainingError as error:
                log(f"left out: {error}")
                continue
            for part, files in open_masks(folder / "masks").files.items():
                masks = {int(stem): file for stem, file in files.items() if stem.isdigit() and int(stem) in valid}
                if masks:
                    self._clips.append((folder, video, part, dict(sorted(masks.items()))))
        if not self._clips:
            raise TrainingError(f"{self.name}: no episode with a valid frame, its masks and its video")
        self._open = lru_cache(maxsize=4)(open_frames)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> EpisodeClip:
        _, video, part, masks = self._clips[index]
        return EpisodeClip(self._open(video), masks, part, min(masks))

    def videos(self) -> Iterator[dict[str, EpisodeClip]]:
        """The clips of every episode, by part."""
        for _, group in groupby(range(len(self)), key=lambda i: self._clips[i][0]):
            yield {self._clips[i][2]: self[i] for i in group}


def _read_episode(folder: Path) -> tuple[Path, set[int]]:
    """The video of an episode and its valid frames.

    Raises:
        TrainingError: damaged, without masks, without a valid frame, or its video is gone.
    """
    try:
        source = json.loads(read_text(folder / "episode.json"))["source"]["path"]
        table = pq.read_table(folder / "trajectory.parquet", columns=["frame_index", "valid"])
        frames, valid = (table[name].to_numpy() for name in ("frame_index", "valid"))
        found = {int(i) for i in frames[valid.astype(bool)]}
        # an episode that was moved: its video may lie beside it, as `urdfit augment` puts it
        video = next((p for p in (Path(source), folder / source, folder / OWN_VIDEO) if p.exists()), None)
    except (ValueError, KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise TrainingError(f"{folder}: not a readable episode ({str(error).splitlines()[0][:120]})") from None
    if video is None:
        raise TrainingError(f"{folder}: its video {source} is gone")
    if not (folder / "masks").is_dir() or not any(list_masks(p) for p in (folder / "masks").iterdir() if p.is_dir()):
        raise TrainingError(f"{folder}: no masks/ in it; make them with `urdfit run`")
    if not found:
        raise TrainingError(f"{folder}: no frame of it is valid")
    return video, found
