"""Which predictor the segmentation benchmark runs: the built-in segmenter, RobotSeg, or plain SAM 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.errors import UsageError
from flows.files import sha256_file
from segmentation.protocol import Predictor


@dataclass(frozen=True)
class FoundWeights:
    """load makes the predictor; identity tells these weights from others (name, sha256)."""

    load: Callable[[], Predictor]
    identity: dict[str, Any]


def find_weights(weights: str, device: str = "cpu") -> FoundWeights:
    """The predictor of a name or a weights file.

    Raises:
        UsageError: no such device. WeightsError: an unknown name, no such file, or a file of no known network.
    """
    import torch

    from segmentation.automatic import AutomaticPredictor
    from segmentation.segmenter import DEFAULT_WEIGHTS, load_segmenter

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageError(f"--device {device}: expected cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: PyTorch finds no CUDA device here")
    path = DEFAULT_WEIGHTS if weights == "default" else Path(weights)
    segmenter = load_segmenter(weights, device)
    identity = {"name": weights if weights == "default" else path.name, "sha256": sha256_file(path)}
    return FoundWeights(lambda: AutomaticPredictor(segmenter), identity)
