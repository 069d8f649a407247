"""Frames as the network wants them: 1024x1024 float RGB, normalised, made when asked for."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segmentation.frames import Frames

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(frame: np.ndarray, size: int) -> Tensor:
    """(3,size,size) float32 of a frame (H,W,3) uint8 RGB: resized as sam2 does (bicubic, 8 bits), then normalised.

    Raises:
        ValueError: another shape or type.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be (H,W,3) uint8 RGB, got {frame.shape} {frame.dtype}")
    resized = np.array(Image.fromarray(frame).resize((size, size)))
    unit = torch.from_numpy(resized / 255.0).permute(2, 0, 1).float()
    return (unit - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def unnormalised(image: Tensor) -> Tensor:
    """RGB in 0..1 of normalised pictures (...,3,H,W)."""
    mean, deviation = (torch.tensor(v, device=image.device)[:, None, None] for v in (MEAN, DEVIATION))
    return image * deviation + mean


class Pictures:
    """A sequence of frames seen as pictures; holds none of them."""

    def __init__(self, frames: Frames, size: int):
        self.frames, self.size = frames, size

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Tensor:
        return picture(self.frames[index], self.size)
