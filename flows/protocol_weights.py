"""Which predictor the segmentation benchmark runs: RobotSeg, SAM 2, or the built-in segmenter without prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.errors import UsageError
from segmentation.protocol import Predictor


@dataclass(frozen=True)
class FoundWeights:
    """load makes the predictor; identity tells these weights from others (name, sha256, number format).

    automatic: it finds parts by their name; prompts: it takes clicks and boxes.
    """

    load: Callable[[], Predictor]
    identity: dict[str, Any]
    automatic: bool = True
    prompts: bool = True

    def check(self, mode: str) -> None:
        """Can the benchmark's mode be run?

        Raises:
            UsageError: not with these weights.
        """
        name = self.identity["name"]
        if mode == "AU" and not self.automatic:
            raise UsageError(f"--mode AU: {name} is SAM 2, which finds nothing without prompts; use 1C, 3C, BB or OI")
        if mode != "AU" and not self.prompts:
            raise UsageError(
                f"--mode {mode}: {name} takes no clicks or boxes here; use AU, or weights of RobotSeg or SAM 2"
            )


def find_weights(weights: str, device: str = "cpu") -> FoundWeights:
    """The predictor of a name or a weights file, see `urdfit weights`. On CUDA it computes in bfloat16, as the
    benchmark's scripts do.

    Raises:
        UsageError: no such device. WeightsError: an unknown name, no such file, or a file of no known network.
    """
    import torch

    from segmentation.automatic import AutomaticPredictor
    from segmentation.segmenter import load_segmenter
    from segmentation.tracker import TrackerSegmenter
    from segmentation.weights_store import content_hash, find

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageError(f"--device {device}: expected cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: PyTorch finds no CUDA device here")
    path = find(weights)
    segmenter = load_segmenter(path, device)
    named = {"name": path.name if weights == str(path) else weights, "sha256": content_hash(path)}
    if not isinstance(segmenter, TrackerSegmenter):
        return FoundWeights(lambda: AutomaticPredictor(segmenter), named, prompts=False)
    predictor = segmenter.predictor
    predictor.precision = torch.bfloat16 if kind == "cuda" else torch.float32
    named["precision"] = str(predictor.precision).removeprefix("torch.")
    return FoundWeights(lambda: predictor, named, automatic=segmenter.automatic)
