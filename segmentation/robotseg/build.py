"""Builds RobotSeg and SAM 2 from the configurations that the sam2 package ships, and loads their weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from segmentation.errors import WeightsError
from segmentation.robotseg.behaviour import FAITHFUL, Behaviour
from segmentation.robotseg.linear import fuse_linears
from segmentation.robotseg.predictor import RobotSegPredictor, Sam2Predictor, StreamingPredictor
from segmentation.robotseg.reading import MemoryReading
from segmentation.robotseg.recognise import check, nearest, shapes
from segmentation.weights_store import read_weights

HERE = "segmentation.robotseg"
SIZE = 1024
# sam2's own settings for videos: a single mask that is not stable gives way to the best of three, and what users click
# is remembered as they see it.
STABILITY = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}
Weights = str | Path | Mapping[str, Tensor]
Predictor = TypeVar("Predictor", bound=StreamingPredictor)


def build_robotseg(
    weights: Weights | None = None,
    *,
    behaviour: Behaviour = FAITHFUL,
    device: str | torch.device = "cpu",
    precision: torch.dtype = torch.float32,
    size: int = SIZE,
    pool: int = 1,
) -> RobotSegPredictor:
    """RobotSeg's network and video predictor, in evaluation mode.

    Args:
        weights: a file or state dict; None leaves random numbers.
        behaviour: the original's by default.
        precision: float32, or bfloat16 to compute under autocast.
        size: side of the square that frames are resized to, a multiple of 128; the weights were trained for 1024.
        pool: on processors, squares of so many memory tokens a side are read as one; 1 is exact.

    Raises:
        WeightsError: a file that cannot be used, or weights of another network.
        ValueError: a size that is no multiple of 128; a pool other than 1, 2 or 4.
    """
    if pool not in (1, 2, 4):
        raise ValueError(f"pool {pool}: expected 1, 2 or 4")
    model = skeleton("robotseg", size)
    assert isinstance(model, RobotSegPredictor)
    model.set_behaviour(behaviour)
    for module in model.modules():
        if isinstance(module, MemoryReading):
            module.pool = pool
    return _filled(model, weights, "robotseg", device, precision)


def build_sam2(
    weights: Weights,
    *,
    device: str | torch.device = "cpu",
    precision: torch.dtype = torch.float32,
    size: int = SIZE,
) -> Sam2Predictor:
    """SAM 2 or 2.1 of the size that the weights have, with the same methods.

    Raises:
        WeightsError: a file that cannot be used, or weights of another network.
    """
    state = weights if isinstance(weights, Mapping) else read_weights(weights)
    name = nearest(state)
    if not name.startswith("sam2"):
        raise WeightsError(f"weights of {name}, expected SAM 2 or 2.1")
    model = skeleton(name, size)
    assert isinstance(model, Sam2Predictor)
    return _filled(model, state, name, device, precision)


def skeleton(name: str, size: int = SIZE) -> StreamingPredictor:
    """The predictor of that name ("robotseg", "sam2.1_hiera_t", ...) with random numbers."""
    if size < 128 or size % 128:
        raise ValueError(f"size {size}: expected a multiple of 128")
    if name == "robotseg":
        config = _config("sam2.1_hiera_t")
        config._target_ = f"{HERE}.predictor.RobotSegPredictor"
        attention = config.memory_attention
        attention._target_ = f"{HERE}.structure.StructureMemoryAttention"
        attention.layer._target_ = f"{HERE}.structure.StructureLayer"
        attention.layer.cross_attention_structure = attention.layer.cross_attention
    else:
        config = _config(name)
        config._target_ = f"{HERE}.predictor.Sam2Predictor"
    config.image_size = size
    model = instantiate(config, _recursive_=True)
    fuse_linears(model)
    return model


def _config(name: str) -> DictConfig:
    """The model part of one of sam2's configurations, with its usual settings for videos."""
    file = resources.files("sam2").joinpath(f"configs/{name.split('_')[0]}/{name}.yaml")
    config = OmegaConf.create(file.read_text(encoding="utf8")).model
    config.sam_mask_decoder_extra_args = STABILITY
    config.binarize_mask_from_pts_for_mem_enc = True
    config.memory_attention.layer.cross_attention._target_ = f"{HERE}.reading.MemoryReading"
    return config


def _filled(
    model: Predictor, weights: Weights | None, name: str, device: str | torch.device, precision: torch.dtype
) -> Predictor:
    if weights is not None:
        state = weights if isinstance(weights, Mapping) else read_weights(weights)
        check(state, name, shapes(model.state_dict()))
        model.load_state_dict(state)
    model.precision = precision
    return model.to(device).eval()
