"""The RobotSeg benchmark's ways to prompt a predictor and to run it through a labelled video.

AU: no prompt but the part's name. 1C: one click. 3C: up to three clicks, each at the middle of the error so far.
BB: a box. OI: three clicks, then corrections wherever the mask has become bad. Prompts are given on the first
frame that shows the part, so even AU takes that much from the truth. Propagation runs forward only.
Source: VRS benchmark (RobotSeg, arXiv 2511.22950).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from segmentation.clicks import box_around, click_until, first_click, overlap
from segmentation.errors import MaskError
from segmentation.mask_sets import VRS_FOLDERS
from segmentation.vrs import LabelledVideo

MODES = ("AU", "1C", "3C", "BB", "OI")


class Predictor(Protocol):
    """What the benchmark needs of a video predictor: sam2's surface with a part's name beside every prompt."""

    def init_state(self, frames: Any) -> Any: ...

    def add_new_robot(self, state: Any, frame_idx: int, obj_id: int, part: str) -> tuple[int, list[int], Any]: ...

    def add_new_points_or_box(
        self, state: Any, frame_idx: int, obj_id: int, points: Any = None, labels: Any = None, *, box: Any = None,
        part: str | None = None,
    ) -> tuple[int, list[int], Any]: ...  # fmt: skip

    def propagate_in_video(
        self, state: Any, start_frame_idx: int | None = None
    ) -> Iterator[tuple[int, list[int], Any]]: ...

    def clear_all_prompts_in_frame(self, state: Any, frame_idx: int, obj_id: int) -> Any: ...


@dataclass(frozen=True)
class Prompting:
    """How a video is prompted.

    clicks: of 3C and OI, per frame. corrections: frames of a video that OI mends; attempts that make a frame worse
    do not count. threshold: IoU below which OI mends. keep_rejected: leave the clicks of a rejected correction with
    the predictor, where the next accepted one merges them (the benchmark's scripts do; we withdraw them).
    """

    mode: str = "AU"
    clicks: int = 3
    corrections: int = 3
    threshold: float = 0.9
    keep_rejected: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r}: expected one of {', '.join(MODES)}")


@dataclass
class Usage:
    """Filled in while a video runs: frames and seconds of propagation alone, seconds of prompting, frames mended."""

    frames: int = 0
    seconds: float = 0.0
    prompt_seconds: float = 0.0
    corrected: dict[str, list[int]] = field(default_factory=dict)


def segment_video(
    predictor: Predictor, video: LabelledVideo, starts: dict[str, int], prompting: Prompting, usage: Usage
) -> Iterator[tuple[int, dict[str, np.ndarray], bool]]:
    """Run the parts in `starts` (part -> frame to prompt) through a video, each from its start to the end.

    Parts that start together are propagated together, so that they share the image encoder; parts that start later
    get a pass of their own, because a prompt would reach back into the frames before it.

    Yields:
        Frame index, part -> mask (H,W) bool, and whether this is the first frame of a pass.

    Raises:
        MaskError: the predictor returns masks of another size.
    """
    usage.corrected.update({part: [] for part in starts})
    for start in sorted(set(starts.values())):
        parts = [part for part, first in starts.items() if first == start]
        run = _Pass(predictor, video, parts, prompting, usage)
        run.prompt(start)
        for index, masks in run.propagate(start):
            yield index, masks, index == start


class _Pass:
    """One state of the predictor with the parts that start on one frame."""

    def __init__(
        self, predictor: Predictor, video: LabelledVideo, parts: Iterable[str], prompting: Prompting, usage: Usage
    ):
        self.predictor, self.video, self.prompting, self.usage = predictor, video, prompting, usage
        self.ids = {part: int(VRS_FOLDERS[part]) for part in parts}
        self.state = predictor.init_state(video)
        self.start = 0

    def prompt(self, start: int) -> None:
        """Give every part its prompt on the frame where it is first seen."""
        self.start = start
        began = time.perf_counter()
        for part, number in self.ids.items():
            truth = self.video.truth(part, start)
            assert truth is not None, "a start frame is labelled"
            if self.prompting.mode == "AU":
                self.predictor.add_new_robot(self.state, start, number, part)
            elif self.prompting.mode == "BB":
                self.predictor.add_new_points_or_box(self.state, start, number, box=box_around(truth), part=part)
            elif self.prompting.mode == "1C":
                self._click(part, start, first_click(truth)[None], np.ones(1, np.int32))
            else:
                click_until(truth, lambda p, n, part=part: self._click(part, start, p, n), self.prompting.clicks)  # type: ignore[misc]
        self.usage.prompt_seconds += time.perf_counter() - began

    def propagate(self, start: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Masks from `start` to the end. After a correction propagation sets in again on the frame after it."""
        first: int | None = start
        while first is not None:
            frames, first = self.predictor.propagate_in_video(self.state, start_frame_idx=first), None
            while (step := self._next(frames)) is not None:
                index, masks = step
                mended = self._correct(index, masks)
                yield index, masks
                if mended and index + 1 < len(self.video):
                    first = index + 1
                    break
            getattr(frames, "close", lambda: None)()

    def _next(self, frames: Iterator[tuple[int, list[int], Any]]) -> tuple[int, dict[str, np.ndarray]] | None:
        """The next frame; only this is timed, with the way of the masks to the processor, which waits for a GPU."""
        began = time.perf_counter()
        step = next(iter(frames), None)
        if step is None:
            return None
        index, numbers, logits = step
        masks = {part: self._mask(numbers, logits, part) for part in self.ids}
        self.usage.seconds += time.perf_counter() - began
        self.usage.frames += 1
        return int(index), masks

    def _correct(self, index: int, masks: dict[str, np.ndarray]) -> bool:
        """Mend bad masks of a labelled frame in place; True where something was mended."""
        if self.prompting.mode != "OI":
            return False
        began, mended = time.perf_counter(), False
        for part, mask in masks.items():
            truth = self.video.truth(part, index)
            done = self.usage.corrected[part]
            if truth is None or not truth.any() or len(done) >= self.prompting.corrections:
                continue
            before = overlap(mask, truth)
            if before >= self.prompting.threshold:
                continue
            better, _ = click_until(
                truth, lambda p, n, part=part: self._click(part, index, p, n), self.prompting.clicks, mask  # type: ignore[misc]
            )  # fmt: skip
            if overlap(better, truth) >= before:
                masks[part], mended = better, True
                done.append(index)
            elif not self.prompting.keep_rejected and index != self.start:  # there its prompt would go as well
                self.predictor.clear_all_prompts_in_frame(self.state, index, self.ids[part])
        self.usage.prompt_seconds += time.perf_counter() - began
        return mended

    def _click(self, part: str, index: int, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        _, numbers, logits = self.predictor.add_new_points_or_box(
            self.state, index, self.ids[part], points=points, labels=labels, part=part
        )
        return self._mask(numbers, logits, part)

    def _mask(self, numbers: list[int], logits: Any, part: str) -> np.ndarray:
        inside = logits[list(numbers).index(self.ids[part]), 0] > 0
        mask = np.asarray(inside.cpu() if hasattr(inside, "cpu") else inside)
        if mask.shape != self.video.size:
            name, size = self.video.name, self.video.size
            raise MaskError(f"{name}: the predictor gives masks of shape {mask.shape}, the frames have {size}")
        return mask
