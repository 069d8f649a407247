"""Cutting the robot out of a picture and putting it into another one.

Soft matte: guided filter (He, Sun, Tang, PAMI 2013) in a narrow band about the mask's outline. The robot's own colour
in that band, without the background that shines through: Forte and Pitie, "Approximate fast foreground colour
estimation" (ICIP 2021), equations 4 to 6 with one radius. Pictures are mixed as light mixes, in linear colour.
"""

from __future__ import annotations

import cv2
import numpy as np

from segmentation.outline_filter import guided_filter

EPS = 2e-3  # regularisation of the guided filter, for a guide in 0..1
GAMMA = 2.2
_LINEAR = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)


def linear(image: np.ndarray) -> np.ndarray:
    """Linear light 0..1, float32, of an sRGB picture uint8 (with the exponent that `pose.shading` uses)."""
    return _LINEAR[image]


def encoded(light: np.ndarray) -> np.ndarray:
    """The sRGB picture uint8 of linear light, clipped to 0..1."""
    return (np.clip(light, 0, 1) ** np.float32(1 / GAMMA) * 255 + 0.5).astype(np.uint8)


def soft_matte(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much of each pixel is robot, (H,W) float32 in 0..1.

    Args:
        image: (H,W,3) uint8 RGB. mask: (H,W) bool; its outline may be wrong by a pixel or two.
    """
    band = max(2, round(image.shape[1] / 250))
    inside = mask.astype(np.uint8)
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    soft = guided_filter(guide, inside.astype(np.float32), band + 1, EPS)
    soft = np.clip((soft - 0.15) / 0.7, 0, 1)  # the filter's windows never reach 0 and 1
    shape = disc(band)
    certain, possible = cv2.erode(inside, shape), cv2.dilate(inside, shape)
    return np.where(certain > 0, 1, np.where(possible > 0, soft, 0)).astype(np.float32)


def own_colour(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The robot's linear colour (H,W,3) where alpha (H,W) is between 0 and 1, without what shines through."""
    size = (2 * max(3, round(light.shape[1] / 120)) + 1,) * 2
    a = alpha[..., None]

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values, cv2.CV_32F, size)

    weight, rest = mean(alpha)[..., None], mean(1 - alpha)[..., None]
    front = mean(light * a) / np.maximum(weight, 1e-4)
    behind = mean(light * (1 - a)) / np.maximum(rest, 1e-4)
    return np.clip(front + a * (light - a * front - (1 - a) * behind), 0, 1)


def composite(front: np.ndarray, alpha: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Linear colours mixed: alpha of `front` over `behind`, all (H,W,...)."""
    return front * alpha[..., None] + behind * (1 - alpha[..., None])


def disc(radius: int) -> np.ndarray:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
