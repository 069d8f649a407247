"""Augmentation of clips as LET does it (arXiv 2511.22950): one change of shape and colour for the whole clip, then a
little of its own for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

FLIP = 0.5
TURN, SHEAR = 25.0, 20.0  # degrees
CLIP_JITTER = (0.1, 0.03, 0.03)  # of brightness, contrast, saturation, for the whole clip
FRAME_JITTER = (0.1, 0.05, 0.05)  # for each frame
GREY = 0.05
FILL = (123, 116, 103)  # ImageNet's mean, where a turned picture has nothing
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Change:
    """What one clip gets: mirrored or not, a linear map about the middle, colour factors, grey or not."""

    flip: bool
    linear: np.ndarray
    colour: tuple[float, float, float]
    grey: bool


def draw_change(rng: np.random.Generator) -> Change:
    """One of them; no other random numbers are needed for shapes."""
    flip, grey = rng.random() < FLIP, rng.random() < GREY
    turn, shear = np.radians(rng.uniform(-1, 1, 2) * (TURN, SHEAR))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return Change(bool(flip), rotation @ [[1, np.tan(shear)], [0, 1]], _factors(rng, CLIP_JITTER), grey)


def warp(image: np.ndarray, change: Change, size: int, fill: int | Sequence[int], smooth: bool) -> np.ndarray:
    """The picture or mask (H,W,...) uint8, mirrored and turned about its middle, resized to size x size.

    Args:
        fill: value where there is nothing. smooth: between pixels (pictures) or the nearest one (labels).
    """
    height, width = image.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    linear = change.linear @ np.diag([-1.0 if change.flip else 1.0, 1.0])
    matrix = np.column_stack([linear, middle - linear @ middle])
    kind = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    border = [int(v) for v in np.ravel(fill)]
    turned = cv2.warpAffine(image, matrix, (width, height), flags=kind, borderValue=border)
    shrinks = size < max(height, width)
    between = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(turned, (size, size), interpolation=between if smooth else cv2.INTER_NEAREST_EXACT)


def recolour(rng: np.random.Generator, image: np.ndarray, change: Change) -> np.ndarray:
    """A picture (H,W,3) uint8 in the clip's colours and with a frame's own jitter; the same type."""
    x = image.astype(np.float32)
    for factors in (change.colour, _factors(rng, FRAME_JITTER)):
        x = _jittered(x, factors)
    if change.grey:
        x = np.repeat((x @ LUMA)[..., None], 3, 2)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _factors(rng: np.random.Generator, reach: Sequence[float]) -> tuple[float, float, float]:
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * reach
    return float(brightness), float(contrast), float(saturation)


def _jittered(x: np.ndarray, factors: tuple[float, float, float]) -> np.ndarray:
    brightness, contrast, saturation = factors
    x = np.clip(x * brightness, 0, 255)
    x = np.clip(contrast * x + (1 - contrast) * (x @ LUMA).mean(), 0, 255)
    return np.clip(saturation * x + (1 - saturation) * (x @ LUMA)[..., None], 0, 255)
