"""What happens to a rendered sample each time it is trained on: crops, other backgrounds, and what cameras
and codecs do."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segmentation.training.shards import decode


def augment(
    rng: np.random.Generator,
    sample: tuple,
    photos: list[np.ndarray],
    other: tuple | None,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:
    """rgb (height,width,3) uint8 and part (height,width) uint8 of a stored sample.

    photos: RGB pictures without robots; `other`: another stored sample. Either may become the background.
    """
    rgb, part = decode(sample)
    draw = rng.random()
    if draw < 0.3 and photos:
        rgb = np.where(part[..., None] > 0, rgb, _random_piece(rng, photos[rng.integers(len(photos))], *part.shape))
    elif draw < 0.36 and other is not None:
        behind, behind_part = decode(other)
        if not behind_part.any() or rng.random() < 0.7:
            rgb = np.where(part[..., None] > 0, rgb, behind)
            part = np.where(part > 0, part, behind_part)
    rgb, part = _crop(rng, rgb, part, width, height)
    if rng.random() < 0.5:
        rgb, part = rgb[:, ::-1], part[:, ::-1]
    return camera_effects(rng, np.ascontiguousarray(rgb)), np.ascontiguousarray(part)


def _random_piece(rng: np.random.Generator, photo: np.ndarray, height: int, width: int) -> np.ndarray:
    h, w = photo.shape[:2]
    ch = int(min(h, w * height / width) * rng.uniform(0.5, 1))
    cw = min(w, int(ch * width / height))
    y, x = rng.integers(h - ch + 1), rng.integers(w - cw + 1)
    piece = cv2.resize(photo[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_LINEAR)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def _crop(
    rng: np.random.Generator, rgb: np.ndarray, part: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    H, W = part.shape
    scale = rng.uniform(0.28, 1.0) if rng.random() < 0.75 else 1.0
    stretch = np.exp(rng.normal(0, 0.12))
    ch, cw = int(min(H, H * scale / stretch)), int(min(W, W * scale * stretch))
    y, x = rng.integers(H - ch + 1), rng.integers(W - cw + 1)
    if rng.random() < 0.7:  # blur hides the render's staircase edges from the network
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 0.9))
    small = cv2.resize(rgb[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_AREA)
    return small, cv2.resize(part[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_NEAREST)


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
