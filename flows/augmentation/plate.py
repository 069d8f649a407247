"""The scene without the robot, from a video of a static camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

ROWS = 32  # of pictures sorted at once: memory stays small
HIDDEN = np.uint16(999)  # sorts behind every colour
MOVED = 12  # grey levels: a larger difference from the median is no noise


@dataclass(frozen=True)
class Plate:
    """A picture of the scene without the robot.

    Attributes:
        image: (H,W,3) uint8 RGB.
        seen: (H,W) bool where some frame showed the scene; elsewhere the picture is a guess.
        noise: standard deviation of the camera's noise in grey levels; compression that smooths counts as less.
    """

    image: np.ndarray
    seen: np.ndarray
    noise: float


def background_plate(pictures: Sequence[np.ndarray], hidden: Sequence[np.ndarray]) -> Plate:
    """The temporal median of what is seen of the scene, the rest painted in from around it.

    Args:
        pictures: RGB (H,W,3) uint8 of one static camera.
        hidden: (H,W) bool for each, where it shows the robot instead.

    Raises:
        ValueError: no pictures.
    """
    if not pictures:
        raise ValueError("background_plate: no pictures")
    height, width = pictures[0].shape[:2]
    image = np.zeros((height, width, 3), np.uint8)
    seen = np.zeros((height, width), bool)
    spread = []
    for top in range(0, height, ROWS):
        rows = slice(top, min(top + ROWS, height))
        stack = np.stack([p[rows] for p in pictures]).astype(np.uint16)
        covered = np.stack([h[rows] for h in hidden])
        stack[covered] = HIDDEN
        count = len(pictures) - covered.sum(0)
        middle = np.maximum(count - 1, 0)[None, ..., None] // 2
        median = np.take_along_axis(np.sort(stack, 0), middle, 0)[0]
        seen[rows] = count > 0
        image[rows] = np.where(count[..., None] > 0, median, 0)
        often = (~covered) & (count > 2)
        spread.append((stack.astype(np.float32) - median)[often][::97])
    deviation = np.concatenate(spread)
    calm = np.abs(deviation)[np.abs(deviation) <= MOVED]
    noise = float(np.sqrt(np.pi / 2) * calm.mean()) if len(calm) else 0.0  # of a normal distribution
    return Plate(paint_in(image, ~seen), seen, noise)


def paint_in(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill what is missing from its surroundings (Telea 2004, OpenCV), large holes on a coarse picture first."""
    if not missing.any():
        return image
    if missing.all():
        return np.full_like(image, 128)
    hole = missing.astype(np.uint8)
    width = float(cv2.distanceTransform(hole, cv2.DIST_L2, 5).max())
    factor = min(1.0, 6.0 / width)  # so that no hole is deeper than a few pixels where it is filled
    if factor == 1.0:
        return cv2.inpaint(image, hole, 3, cv2.INPAINT_TELEA)
    size = max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor))
    weight = cv2.resize((~missing).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(np.where(missing[..., None], 0, image).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = (sums / np.maximum(weight, 1e-3)[..., None]).clip(0, 255).astype(np.uint8)
    coarse = cv2.inpaint(small, (weight < 0.2).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    smooth = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(missing[..., None], smooth, image)
