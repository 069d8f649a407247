"""Image features of a vision transformer that the user has, such as DINOv3, for the patch loss.

A folder as the package transformers saves it: `config.json` and `model.safetensors`. Nothing is downloaded, and no code
from the folder is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from segmentation.errors import TrainingError


class TransformerFeatures:
    """The last layer's patch tokens, frozen. A `patch_targets.Features`.

    Pictures come normalised by ImageNet's mean and deviation, as DINOv2 and DINOv3 want them; they are resized to
    whole patches where needed.
    """

    def __init__(self, model: Any):
        self.model = model.eval().requires_grad_(False)
        self.patch = int(model.config.patch_size)
        self.special = 1 + int(getattr(model.config, "num_register_tokens", 0))  # class token and registers come first

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(N,C,h,w) of pictures (N,3,H,W)."""
        height, width = (max(1, round(n / self.patch)) for n in pictures.shape[-2:])
        size = height * self.patch, width * self.patch
        if size != tuple(pictures.shape[-2:]):
            pictures = F.interpolate(pictures, size=size, mode="bicubic", align_corners=False)
        tokens = self.model(pixel_values=pictures).last_hidden_state[:, self.special :]
        return tokens.transpose(1, 2).unflatten(2, (height, width))


def load_features(folder: str | Path, device: str | torch.device = "cpu") -> TransformerFeatures:
    """Features by the model in a folder.

    Raises:
        TrainingError: no such folder, no vision transformer in it, or the package transformers is missing.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise TrainingError(
            f"{folder}: no config.json in it; expected a model folder with config.json, model.safetensors"
        )
    try:
        from transformers import AutoModel
    except ImportError:
        raise TrainingError("features of another network need its library: pip install transformers") from None
    try:
        model = AutoModel.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        return TransformerFeatures(model.to(device))
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise TrainingError(f"{folder}: no vision transformer that transformers can load ({reason})") from None
