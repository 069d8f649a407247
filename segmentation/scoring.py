"""Scores of whole videos from scores of frames: when a frame counts, means per video and over videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from segmentation.metrics import boundary_f, jaccard

GLOBAL = "global"  # the video of a score over all videos
ABSENT = "the true masks are all empty: not in the mean"


@dataclass(frozen=True)
class Score:
    """J and F (fractions) of one part of one video over `frames` frames, or over `videos` videos; NaN without any.

    note: why there are no figures, or what else the reader must know.
    """

    part: str
    video: str = ""
    frames: int = 0
    jaccard: float = math.nan
    boundary: float = math.nan
    note: str = ""
    videos: int = 1

    @property
    def both(self) -> float:
        """J&F."""
        return (self.jaccard + self.boundary) / 2


@dataclass
class FrameScores:
    """Collects the frames of one part of one video, in order.

    A frame counts from the first one on in which the part has appeared in the truth or in the prediction; before
    that both are empty and nothing was at stake.
    """

    values: list[tuple[float, float]] = field(default_factory=list)
    appeared: bool = False
    truth_appeared: bool = False

    def add(self, predicted: np.ndarray | None, truth: np.ndarray) -> tuple[float, float] | None:
        """Score one frame (H,W); a prediction of None is empty. Returns (J, F), or None where it does not count.

        Raises:
            ValueError: the masks have different shapes.
        """
        predicted = np.zeros_like(truth) if predicted is None else predicted
        self.truth_appeared |= bool(np.any(truth))
        self.appeared |= self.truth_appeared or bool(np.any(predicted))
        if not self.appeared:
            return None
        self.values.append((jaccard(predicted, truth), boundary_f(predicted, truth)))
        return self.values[-1]

    def score(self, part: str, video: str = "") -> Score:
        """Mean over the frames; without figures where the truth never shows the part."""
        if not self.truth_appeared:
            return Score(part, video, len(self.values), note=ABSENT)
        j, f = np.mean(self.values, axis=0)
        return Score(part, video, len(self.values), float(j), float(f))


def over_videos(scores: Iterable[Score]) -> Iterator[Score]:
    """For every part the mean over its videos, each video counting once however long it is."""
    scores = list(scores)
    for part in dict.fromkeys(s.part for s in scores):
        rows = [s for s in scores if s.part == part and not math.isnan(s.jaccard)]
        if not rows:
            yield Score(part, GLOBAL, note="no video with figures", videos=0)
            continue
        j, f = np.mean([(s.jaccard, s.boundary) for s in rows], axis=0)
        yield Score(part, GLOBAL, sum(s.frames for s in rows), float(j), float(f), videos=len(rows))
