"""Batches for LET: frames of labelled clips, changed in shape and colour, as arrays of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segmentation.training.let_augment import FILL, Change, draw_change, recolour, warp
from segmentation.training.let_prompts import draw_kind
from segmentation.training.sampler import FRAMES, Order, bidirectional
from segmentation.training.shards import IGNORE
from segmentation.training.sources import PARTS, Clip, Frame, Source

PATCH = 16  # pixels a side that a rough mask has one value for
SEARCH = 20  # clips that are looked at for one that shows its object
FEWEST = 8  # pixels of an object that shows


@dataclass(frozen=True)
class Batch:
    """B clips of T frames.

    Attributes:
        pictures: (T,B,S,S,3) uint8. masks: (T,B,S,S) uint8, 1 inside, 0 outside, 255 unknown.
        labelled: per frame, whether `masks` says anything.
        rough: frame -> (B,S/16,S/16) float, share of each patch in somebody's guess, for frames without labels.
        parts: row of every clip's part in `PARTS`. kind: of prompt. seed: for the clicks.
    """

    pictures: np.ndarray
    masks: np.ndarray
    labelled: tuple[bool, ...]
    rough: dict[int, np.ndarray]
    parts: tuple[int, ...]
    kind: str
    seed: tuple[int, ...]


@dataclass(frozen=True)
class BatchSettings:
    """What goes into a batch.

    Attributes:
        size: side of the square that frames are resized to.
        frames: of a clip, at most.
        pictures: single pictures in a batch; of clips there is one.
        dense: use labels of all frames that have them, not of the first one alone.
    """

    size: int = 1024
    frames: int = FRAMES
    pictures: int = 10
    dense: bool = True


class Batches:
    """Batch n depends on the sources, the settings, the seed and n alone."""

    def __init__(self, sources: Sequence[Source], settings: BatchSettings, seed: int):
        self.sources, self.settings, self.seed = list(sources), settings, seed
        sizes = [settings.pictures if source.pictures else 1 for source in sources]
        self.order = Order([len(source) for source in sources], sizes, seed)

    def __getitem__(self, number: int) -> Batch:
        which, indices = self.order[number]
        source, rng = self.sources[which], np.random.default_rng((self.seed, number))
        frames = 1 if source.pictures else self.settings.frames
        kind = draw_kind(rng, frames)
        drawn = [self._shown(source, index, rng, frames, kind != "automatic") for index in indices]
        if not all(shows for _, _, shows in drawn):
            kind = "automatic"
        clips = [frames for frames, _, _ in drawn]
        count = min(map(len, clips))
        if count == 1 and kind == "mask":  # there would be nothing left to find
            kind = "click"
        labelled = tuple(all(clip[t].mask is not None for clip in clips) for t in range(count))
        unknown = np.full((self.settings.size,) * 2, IGNORE, np.uint8)
        masks = [[m if (m := clip[t].mask) is not None else unknown for clip in clips] for t in range(count)]
        return Batch(
            pictures=np.stack([np.stack([clip[t].rgb for clip in clips]) for t in range(count)]),
            masks=np.stack([np.stack(row) for row in masks]),
            labelled=labelled,
            rough=_rough(clips, labelled),
            parts=tuple(part for _, part, _ in drawn),
            kind=kind,
            seed=(self.seed, number, 1),
        )

    def _shown(
        self, source: Source, index: int, rng: np.random.Generator, frames: int, must: bool
    ) -> tuple[list[Frame], int, bool]:
        """A clip's frames, its part, and whether its first frame shows that; if it must, the next clip that does."""
        for place in range(index, index + SEARCH):
            clip = source[place % len(source)]
            found = self._frames(clip, rng, frames)
            shows = found[0].mask is not None and int((found[0].mask == 1).sum()) >= FEWEST
            if shows or not must:
                break
        return found, PARTS.index(clip.part), shows

    def _frames(self, clip: Clip, rng: np.random.Generator, frames: int) -> list[Frame]:
        """Frames forth and back from a labelled one, all changed alike."""
        size = self.settings.size
        starts = [i for i in clip.labelled if len(clip) - i >= frames] or clip.labelled[:1]
        start = int(starts[int(rng.integers(len(starts)))])
        indices = [start + i for i in bidirectional(rng, len(clip) - start, frames)]
        change = draw_change(rng)
        raw = {i: clip[i] for i in sorted(set(indices))}
        first = raw[start].mask
        if first is not None and (first == 1).any() and not (warp(first, change, size, 0, False) == 1).any():
            change = Change(change.flip, np.eye(2), change.colour, change.grey)  # it would turn out of the picture
        changed = {i: _changed(frame, change, size) for i, frame in raw.items()}
        labelled = {start} if not self.settings.dense else set(indices)
        return [
            Frame(recolour(rng, changed[i].rgb, change), changed[i].mask if i in labelled else None, changed[i].rough)
            for i in indices
        ]


def _changed(frame: Frame, change: Change, size: int) -> Frame:
    """Warped and resized; colours as they were."""
    mask, rough = frame.mask, frame.rough
    return Frame(
        warp(frame.rgb, change, size, FILL, smooth=True),
        None if mask is None else warp(mask, change, size, 0, smooth=False),
        None if rough is None else warp(rough.astype(np.uint8), change, size, 0, smooth=False),
    )


def _rough(clips: Sequence[Sequence[Frame]], labelled: Sequence[bool]) -> dict[int, np.ndarray]:
    """Share of the patches in rough masks, of frames without labels that have a rough one in all clips."""
    found = {}
    for t, known in enumerate(labelled):
        masks = [clip[t].rough for clip in clips]
        if not known and all(mask is not None for mask in masks):
            side = clips[0][t].rgb.shape[0] // PATCH
            areas = [
                cv2.resize(m.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
                for m in masks
                if m is not None
            ]
            found[t] = np.stack(areas)
    return found
