"""What is done to a sample each time it is used: crops, other backgrounds and colours, what cameras and codecs do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

# rgb (H,W,3) uint8, part (H,W) uint8: 0 background, 1 arm, 2 gripper, 255 ignored
Picture = tuple[np.ndarray, np.ndarray]


def augment(
    rng: np.random.Generator, sample: Picture, photos: Sequence[np.ndarray], other: Picture | None,
    width: int, height: int, before: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """rgb (height,width,3), part (height,width) and the frame before's part, cut alike, from a sample.

    photos: RGB pictures without robots; other: another sample. Either may become the background.
    before: part (H,W) of the frame before, if there is one.
    """
    rgb, part = sample
    draw = rng.random()
    robot = (part == 1) | (part == 2)
    if draw < 0.3 and photos:
        piece = _random_piece(rng, photos[int(rng.integers(len(photos)))], *part.shape)
        rgb, part = np.where(robot[..., None], rgb, piece), np.where(robot, part, 0).astype(np.uint8)
    elif draw < 0.6 and other is not None:
        behind, behind_part = _fitting(other, part.shape)
        if not behind_part.any() or rng.random() < 0.7:
            rgb, part = np.where(robot[..., None], rgb, behind), np.where(robot, part, behind_part)
    if rng.random() < 0.25:
        rgb = _repainted(rng, rgb, robot)
    window = _window(rng, part)
    rgb, part = _cut(rng, rgb, part, window, width, height)
    if before is not None:
        before = _nearest(before, window, width, height)
    if rng.random() < 0.5:
        rgb, part = rgb[:, ::-1], part[:, ::-1]
        before = None if before is None else np.ascontiguousarray(before[:, ::-1])
    return camera_effects(rng, np.ascontiguousarray(rgb)), np.ascontiguousarray(part), before


def _fitting(sample: Picture, shape: tuple[int, ...]) -> Picture:
    """Another sample at this picture's size."""
    if sample[1].shape == shape:
        return sample
    size = shape[1], shape[0]
    return cv2.resize(sample[0], size), cv2.resize(sample[1], size, interpolation=cv2.INTER_NEAREST)


def _repainted(rng: np.random.Generator, rgb: np.ndarray, robot: np.ndarray) -> np.ndarray:
    """The robot alone lighter, darker or of another tint: few robots were photographed."""
    gain = np.exp(rng.normal(0, 0.35)) * np.exp(rng.normal(0, 0.12, 3))
    return np.where(robot[..., None], np.clip(rgb * gain, 0, 255).astype(np.uint8), rgb)


def _random_piece(rng: np.random.Generator, photo: np.ndarray, height: int, width: int) -> np.ndarray:
    h, w = photo.shape[:2]
    ch = int(min(h, w * height / width) * rng.uniform(0.5, 1))
    cw = min(w, int(ch * width / height))
    y, x = rng.integers(h - ch + 1), rng.integers(w - cw + 1)
    piece = cv2.resize(photo[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_LINEAR)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def _window(rng: np.random.Generator, part: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width, height of a piece down to a quarter of the side, anywhere: also where no robot is.

    Pieces chosen to show the robot taught a network that something must be one (walls, bins, white pipes).
    """
    H, W = part.shape
    scale = rng.uniform(0.25, 1.0) if rng.random() < 0.75 else 1.0
    stretch = np.exp(rng.normal(0, 0.12))
    h, w = int(min(H, H * scale / stretch)), int(min(W, W * scale * stretch))
    return int(rng.integers(W - w + 1)), int(rng.integers(H - h + 1)), w, h


def _cut(
    rng: np.random.Generator, rgb: np.ndarray, part: np.ndarray, window: tuple[int, int, int, int],
    width: int, height: int,
) -> Picture:  # fmt: skip
    x, y, w, h = window
    if rng.random() < 0.7:  # blur hides the render's staircase edges from the network
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 0.9))
    method = cv2.INTER_AREA if w >= width else cv2.INTER_LINEAR
    small = cv2.resize(rgb[y : y + h, x : x + w], (width, height), interpolation=method)
    return small, _nearest(part, window, width, height)


def _nearest(part: np.ndarray, window: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    x, y, w, h = window
    return cv2.resize(part[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_NEAREST)


def camera_effects(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """Exposure, colour, blur, low resolution, noise, palettes and compression, each some of the time."""
    h, w = rgb.shape[:2]
    x: Any = rgb.astype(np.float32) / 255
    if rng.random() < 0.8:
        x = np.clip(x * rng.uniform(0.65, 1.4) * np.exp(rng.normal(0, 0.07, 3)), 0, 1) ** np.exp(rng.normal(0, 0.2))
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * rng.uniform(0.4, 1.4)
        x = (x - 0.5) * rng.uniform(0.75, 1.25) + 0.5 + rng.normal(0, 0.04)
    if rng.random() < 0.15:
        d = np.hypot(*np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h)))
        x = x * (1 - rng.uniform(0.1, 0.4) * d[..., None] ** 2)
    x = x.astype(np.float32)
    small = rng.random() < 0.4
    if small:
        scale = rng.uniform(0.4, 0.95)
        x = cv2.resize(x, (int(w * scale), int(h * scale)), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.25:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.6))
    elif rng.random() < 0.1:
        n = int(rng.integers(3, 12))
        kernel = np.zeros((n, n), np.float32)
        angle = rng.uniform(0, np.pi)
        c = (n - 1) / 2
        for s in np.linspace(-c, c, 2 * n):
            kernel[round(c + s * np.sin(angle)), round(c + s * np.cos(angle))] = 1
        x = cv2.filter2D(x, -1, kernel / kernel.sum())
    elif rng.random() < 0.2:
        x = x + rng.uniform(0.3, 1.2) * (x - cv2.GaussianBlur(x, (0, 0), 1.0))
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0.005, 0.06))
    out: Any = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    draw = rng.random()
    if draw < 0.12:
        palette = Image.fromarray(out).quantize(int(rng.integers(48, 256)), method=Image.Quantize.FASTOCTREE)
        if rng.random() < 0.7:
            palette = Image.fromarray(out).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        out = np.asarray(palette.convert("RGB"))
    elif draw < 0.55:
        data = io.BytesIO()
        Image.fromarray(out).save(data, "JPEG", quality=int(rng.integers(15, 90)))
        out = np.asarray(Image.open(data).convert("RGB"))
    if small:
        out = cv2.resize(out, (w, h), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
    return np.ascontiguousarray(out)
