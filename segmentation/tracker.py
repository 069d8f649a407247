"""RobotSeg and SAM 2 as segmenters: an object a part, forwards from the first prompt and then backwards from it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from segmentation.errors import PromptError, WeightsError
from segmentation.frames import Frames, open_frames
from segmentation.masks import PARTS
from segmentation.order import Masks, in_order
from segmentation.prompts import Prompt, check_prompts, merge
from segmentation.weights_store import INSTALL


def load_tracker(kind: str, state: Mapping[str, torch.Tensor], device: str = "cpu") -> TrackerSegmenter:
    """A segmenter around the weights of RobotSeg or SAM 2.

    Args:
        kind: robotseg or sam2.

    Raises:
        WeightsError: the sam2 package is not installed.
    """
    for package in ("sam2", "hydra", "iopath"):
        if importlib.util.find_spec(package) is None:
            raise WeightsError(f"these weights need the package {package}, which is not installed: {INSTALL}")
    from segmentation.robotseg.behaviour import Behaviour
    from segmentation.robotseg.build import build_robotseg, build_sam2

    # on a GPU as the original runs there; the same clip gives the same masks, and corrections hold
    numbers = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    build = partial(build_robotseg, behaviour=Behaviour(random_start=False)) if kind == "robotseg" else build_sam2
    predictor = build(state, device=device, precision=numbers)
    predictor.keep_corrections = True
    return TrackerSegmenter(predictor, automatic=kind == "robotseg")


class TrackerSegmenter:
    """A video predictor (see `segmentation.robotseg`) behind `Segmenter`.

    Without prompts (RobotSeg only) every part is looked for in the first frame where one is found, and followed from
    there. With prompts, parts that have none of their own are found automatically on the first prompted frame and kept
    within the robot where that was prompted. A later prompt corrects the mask that was tracked to its frame.
    """

    parts: tuple[str, ...] = PARTS

    def __init__(self, predictor: Any, *, automatic: bool):
        self.predictor, self.automatic = predictor, automatic

    def segment(
        self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[Masks]:
        """See `Segmenter.segment`."""
        return in_order(self.track(frames, prompts, parts))

    def track(
        self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[tuple[int, Masks]]:
        """See `Segmenter.track`."""
        film = open_frames(frames)  # type: ignore[arg-type]
        check_prompts(prompts, film.width, film.height, len(film))
        prompts = merge(replace(prompt, part=prompt.part or "robot") for prompt in prompts)
        wanted = self._wanted(prompts, parts)
        objects = [part for part in PARTS if part in wanted or any(p.part == part for p in prompts)]
        found = self._prompted(film, prompts, objects) if prompts else self._automatic(film, objects)
        prompted = {prompt.part for prompt in prompts}
        for index, masks in found:
            if "robot" in prompted:
                for part in {"arm", "gripper"} & (set(objects) - prompted):
                    masks[part] = np.minimum(masks[part], masks["robot"])
            yield index, {part: masks[part] for part in wanted}

    def _wanted(self, prompts: Sequence[Prompt], parts: Sequence[str]) -> tuple[str, ...]:
        """The parts to give.

        Raises:
            PromptError: SAM 2 is asked for something that nobody pointed at.
        """
        if self.automatic:
            return tuple(parts or self.parts)
        prompted = [part for part in PARTS if any(p.part == part for p in prompts)]
        missing = [part for part in parts if part not in prompted] or ([] if prompted else ["robot"])
        if missing:
            form = "" if missing[0] == "robot" else f"{missing[0]}@"
            raise PromptError(
                f"SAM 2 has no automatic mode: point at the {missing[0]}, for example with --click {form}0:X,Y,+ "
                f"--box {form}0:X0,Y0,X1,Y1 or --mask {form}0:FILE.png; RobotSeg and the default weights find it alone"
            )
        for part in prompted:
            first = next(p for p in prompts if p.part == part)
            if _only_outside(first):
                raise PromptError(f"{first.where}: SAM 2 needs a click inside, a box or a mask before a click outside")
        return tuple(parts) or tuple(prompted)

    def _automatic(self, film: Frames, objects: Sequence[str]) -> Iterator[tuple[int, Masks]]:
        state = self.predictor.init_state(film)
        for start in range(len(film)):
            seen = False
            for number, part in enumerate(objects):
                _, _, logits = self.predictor.add_new_robot(state, start, number, part)
                seen = seen or bool((logits > 0).any())
            if seen:
                yield from self._forward(state, len(film), objects, start, {})
                return
            self.predictor.reset_state(state)
            yield start, {part: np.zeros((film.height, film.width), np.float32) for part in objects}

    def _prompted(self, film: Frames, prompts: Sequence[Prompt], objects: Sequence[str]) -> Iterator[tuple[int, Masks]]:
        state = self.predictor.init_state(film)
        start = prompts[0].frame
        later: dict[int, list[Prompt]] = {}
        for number, part in enumerate(objects):
            own = [prompt for prompt in prompts if prompt.part == part]
            if self.automatic and (not own or own[0].frame > start or _only_outside(own[0])):
                self.predictor.add_new_robot(state, start, number, part)
            for order, prompt in enumerate(own):
                if prompt.frame == start or (order == 0 and not self.automatic):
                    self._add(state, number, prompt)
                else:
                    later.setdefault(prompt.frame, []).append(prompt)
        yield from self._forward(state, len(film), objects, start, later)
        if start > 0:
            for index, ids, logits in self.predictor.propagate_in_video(state, start_frame_idx=start, reverse=True):
                if index < start:
                    yield index, _masks(objects, ids, logits)

    def _forward(
        self, state: Any, count: int, objects: Sequence[str], start: int, later: Mapping[int, Sequence[Prompt]]
    ) -> Iterator[tuple[int, Masks]]:
        """From `start` on; before a frame with later prompts the tracker stops, takes them, and goes on."""
        for stop in sorted(later):
            for index, ids, logits in self.predictor.propagate_in_video(
                state, start_frame_idx=start, max_frame_num_to_track=stop - start
            ):
                if index < stop:
                    yield index, _masks(objects, ids, logits)
            for prompt in later[stop]:
                ids, logits = self._add(state, objects.index(str(prompt.part)), prompt)
            yield stop, _masks(objects, ids, logits)
            start = stop + 1
        if start < count:
            for index, ids, logits in self.predictor.propagate_in_video(state, start_frame_idx=start):
                yield index, _masks(objects, ids, logits)

    def _add(self, state: Any, number: int, prompt: Prompt) -> tuple[Sequence[int], torch.Tensor]:
        part = {"part": prompt.part} if self.automatic else {}
        if prompt.mask is not None:
            _, ids, logits = self.predictor.add_new_mask(state, prompt.frame, number, prompt.mask, **part)
            return ids, logits
        _, ids, logits = self.predictor.add_new_points_or_box(
            state,
            prompt.frame,
            number,
            points=prompt.points if len(prompt.points) else None,
            labels=prompt.labels if len(prompt.points) else None,
            box=None if prompt.box is None else np.array(prompt.box, np.float32),
            **part,
        )
        return ids, logits


def _only_outside(prompt: Prompt) -> bool:
    return prompt.mask is None and prompt.box is None and not (prompt.labels == 1).any()


def _masks(objects: Sequence[str], ids: Sequence[int], logits: torch.Tensor) -> Masks:
    """Logits (n,1,H,W) of the objects with these ids, as probabilities by part."""
    probability = torch.sigmoid(logits[:, 0].float()).cpu().numpy()
    return {part: probability[list(ids).index(number)] for number, part in enumerate(objects)}
