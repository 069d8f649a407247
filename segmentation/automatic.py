"""A segmenter that needs no prompts and has no memory, behind the surface of a video predictor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch

from segmentation.errors import WeightsError
from segmentation.segmenter import Segmenter


@dataclass
class State:
    """The video and, per object, its part."""

    frames: Sequence[np.ndarray]
    parts: dict[int, str] = field(default_factory=dict)


class AutomaticPredictor:
    """`add_new_robot` and `propagate_in_video` of RobotSegPredictor for a `Segmenter`; clicks and boxes are refused.

    "Logits" are probabilities less a half: above 0 is inside.
    """

    def __init__(self, segmenter: Segmenter):
        self.segmenter = segmenter

    def init_state(self, frames: Sequence[np.ndarray]) -> State:
        """frames: (H,W,3) uint8 RGB each."""
        return State(frames)

    def add_new_robot(
        self, state: State, frame_idx: int, obj_id: int, part: str
    ) -> tuple[int, list[int], torch.Tensor]:
        """Ask for a part; returns (frame_idx, ids, logits (n,1,H,W)) of that frame.

        Raises:
            WeightsError: the segmenter does not know the part.
        """
        if part not in self.segmenter.parts:
            raise WeightsError(f"this segmenter knows {', '.join(self.segmenter.parts)}, not {part!r}")
        state.parts[obj_id] = part
        return next(self._run(state, frame_idx, frame_idx + 1))

    def propagate_in_video(
        self, state: State, start_frame_idx: int | None = None
    ) -> Iterator[tuple[int, list[int], torch.Tensor]]:
        """(frame index, ids, logits (n,1,H,W)) of every frame from `start_frame_idx` on."""
        return self._run(state, start_frame_idx or 0, len(state.frames))

    def add_new_points_or_box(self, *arguments: Any, **options: Any) -> NoReturn:
        """Always refused."""
        raise WeightsError("this segmenter takes no clicks or boxes; use mode AU, or weights of RobotSeg or SAM 2")

    def clear_all_prompts_in_frame(self, state: State, frame_idx: int, obj_id: int) -> None:
        """Nothing to clear."""

    def _run(self, state: State, start: int, end: int) -> Iterator[tuple[int, list[int], torch.Tensor]]:
        found = self.segmenter.segment(state.frames[i] for i in range(start, end))
        for index, masks in enumerate(found, start):
            logits = np.stack([masks[part] for part in state.parts.values()])[:, None] - 0.5
            yield index, list(state.parts), torch.from_numpy(logits)
