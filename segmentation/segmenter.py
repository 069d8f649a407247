"""The one place where a segmenter is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from segmentation.errors import WeightsError
from segmentation.frames import Frames
from segmentation.network import RobotNet
from segmentation.order import Masks
from segmentation.prompts import Prompt
from segmentation.weights_store import DEFAULT_WEIGHTS, check_intact, find, kind_of, read_weights, recognised


class Segmenter(Protocol):
    """Finds robots in frames. `parts` are the masks it can give."""

    parts: tuple[str, ...]

    def track(
        self, frames: Frames, prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[tuple[int, Masks]]:
        """(index, masks) of every frame once, in the order that suits the segmenter; memory does not grow.

        Masks are a dict part -> (H,W) float32 probability. Prompts hold from their frame on, the first also before it.

        Args:
            frames: see `open_frames`. prompts: see `segmentation.prompts`. parts: those wanted; default all.

        Raises:
            PromptError: prompts that do not fit the video or the segmenter. VideoError: a frame cannot be read.
        """

    def segment(
        self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[Masks]:
        """The masks of every frame in order; without prompts the built-in network takes any iterable of frames."""


def load_segmenter(name: str | Path = "default", device: str | None = None) -> Segmenter:
    """The segmenter of that name or file: default (ships with the package), several (the same,
    looking at several sizes instead of one: twice the time), robotseg, sam2, a name given to
    `urdfit weights add`, or the path of a weights file, whose kind is told by its keys.

    Args:
        device: as torch calls it; default the processor for the built-in network, a GPU for others where there is one.

    Raises:
        WeightsError: an unknown name, a missing or damaged file, weights of no network that is known here, or the
            sam2 package is missing. Files are read as plain tensors: one that wants to run code is refused.
    """
    path = find(name)
    check_intact(path)
    state = read_weights(path)
    model = "default" if path == DEFAULT_WEIGHTS else recognised(state, path)
    if model == "default":
        from segmentation.compact import NetworkSegmenter
        from segmentation.looks import SEVERAL, SINGLE

        looks = SEVERAL if str(name) == "several" else SINGLE
        return NetworkSegmenter(_network(state, path), device or "cpu", looks)
    from segmentation.tracker import load_tracker

    return load_tracker(kind_of(model), state, device or default_device())


def default_device() -> str:
    """cuda where there is one, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _network(state: dict[str, torch.Tensor], path: Path) -> RobotNet:
    network = RobotNet()
    expected = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    shapes = {k: v.shape for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if shapes != expected:
        wrong = sorted(set(shapes) ^ set(expected)) or [k for k in expected if shapes[k] != expected[k]]
        raise WeightsError(f"{path}: weights of another network ({len(wrong)} tensors differ, first {wrong[0]})")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return network
