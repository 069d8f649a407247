"""Weights of a trained network as a file that `urdfit weights add` and `--weights` take."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from segmentation.training.checkpoint import save_whole


def save_weights(network: nn.Module, path: Path, half: bool = False) -> None:
    """{"model": state dict}, as RobotSeg and SAM 2 are released; the file appears whole or not at all.

    Args:
        half: 16 bits a number. Batch norms' counters, which nothing depends on, are left out.

    Raises:
        TrainingError: the file cannot be written.
    """
    kind = torch.float16 if half else torch.float32
    state = {
        key: value.detach().cpu().to(kind) if value.is_floating_point() else value.cpu()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_whole({"model": state}, path)
