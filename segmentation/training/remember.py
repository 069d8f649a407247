"""What a network might have answered for the frame before: the truth, moved and spoilt as networks spoil it."""

from __future__ import annotations

import cv2
import numpy as np

NONE = 0.45  # share of samples without a frame before


def remembered(
    rng: np.random.Generator, part: np.ndarray, before: np.ndarray | None, other: np.ndarray | None
) -> np.ndarray:
    """A memory (3,H,W) float32 as `RobotNet` reads it: arm, gripper, ones; all zero when there is none.

    part: (H,W) uint8 truth of this frame. before: that of the frame before, if known; else this one is moved.
    other: another picture's truth, for the memory of another scene, which a cut in the video leaves behind.
    """
    height, width = part.shape
    memory = np.zeros((3, height, width), np.float32)
    draw = rng.random()
    if draw < NONE:
        return memory
    memory[2] = 1
    if draw < NONE + 0.04:  # nothing was found
        return memory
    if draw < 0.7 and other is not None:
        source = cv2.resize(other, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        source = _moved(rng, part) if before is None else before
    source = np.where(source > 2, 0, source).astype(np.uint8)
    if rng.random() < 0.8:
        source = _spoilt(rng, source)
    for channel in (0, 1):
        memory[channel] = source == channel + 1
    sigma = rng.uniform(0.5, 3)
    for channel in (0, 1):
        memory[channel] = cv2.GaussianBlur(memory[channel], (0, 0), sigma) * rng.uniform(0.7, 1)
    return memory


def _moved(rng: np.random.Generator, part: np.ndarray) -> np.ndarray:
    """The mask turned, scaled and shifted as between two frames; a quarter of the time as after a pause."""
    height, width = part.shape
    reach = 3.0 if rng.random() < 0.25 else 1.0
    turn, scale = rng.normal(0, 2.0) * reach, np.exp(rng.normal(0, 0.02) * reach)
    M = cv2.getRotationMatrix2D((width * rng.uniform(0, 1), height * rng.uniform(0, 1)), turn, scale)
    M[:, 2] += rng.normal(0, 0.015, 2) * reach * width
    return cv2.warpAffine(part, M, (width, height), flags=cv2.INTER_NEAREST)


def _spoilt(rng: np.random.Generator, part: np.ndarray) -> np.ndarray:
    """Fatter or thinner, with holes, false pieces and pieces of the wrong part."""
    out = part.copy()
    if rng.random() < 0.5:
        n = int(rng.integers(2, 8))
        kernel = np.ones((n, n), np.uint8)
        out = cv2.dilate(out, kernel) if rng.random() < 0.5 else cv2.erode(out, kernel)
    inside = np.argwhere(out > 0)
    for _ in range(rng.poisson(1.5)):
        if len(inside):
            _blob(rng, out, inside[rng.integers(len(inside))], 0 if rng.random() < 0.7 else int(rng.integers(1, 3)))
    for _ in range(rng.poisson(0.8)):
        where = rng.integers(0, part.shape)
        _blob(rng, out, where, 1 if rng.random() < 0.7 else 2)
    if rng.random() < 0.06:
        out[out == 2] = 1
    return out


def _blob(rng: np.random.Generator, part: np.ndarray, center: np.ndarray, value: int) -> None:
    """Paint an ellipse of up to a quarter of the picture."""
    axes = np.exp(rng.uniform(np.log(3), np.log(0.25 * part.shape[1]), 2)).astype(int)
    at = (int(center[1]), int(center[0]))
    cv2.ellipse(part, at, (int(axes[0]), int(axes[1])), rng.uniform(0, 180), 0, 360, value, -1)
