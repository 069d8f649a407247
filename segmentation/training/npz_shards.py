"""Shards: files of a few dozen rendered samples, written by one process while another trains on them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segmentation.training.assets import Assets
from segmentation.training.scenes import sample_scene

SIZE = (720, 540)  # width, height of a stored picture
PER_SHARD = 48


def write_shard(path: Path, samples: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write (rgb, part) pairs as JPEG and PNG bytes; the file appears whole or not at all."""
    content = {}
    for i, (rgb, part) in enumerate(samples):
        content[f"rgb_{i}"] = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 94])[1]
        content[f"part_{i}"] = cv2.imencode(".png", part)[1]
    data = io.BytesIO()
    np.savez(data, **content)  # type: ignore[arg-type]
    part_file = path.with_suffix(".part")
    part_file.write_bytes(data.getvalue())
    os.replace(part_file, path)


def read_shard(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Encoded (JPEG bytes, PNG bytes) of every sample; see `decode`."""
    with np.load(path) as content:
        return [(content[f"rgb_{i}"], content[f"part_{i}"]) for i in range(len(content.files) // 2)]


def decode(sample: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """rgb (H,W,3) uint8 and part (H,W) uint8 with 0 background, 1 arm, 2 gripper."""
    rgb: Any = cv2.imdecode(sample[0], cv2.IMREAD_COLOR)
    part: Any = cv2.imdecode(sample[1], cv2.IMREAD_GRAYSCALE)
    return np.ascontiguousarray(rgb[..., ::-1]), part


def render_shards(assets: Assets, folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Render `count` shards into `folder`, skipping those that are there; shard k depends on (seed, k)
    only."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        path = folder / f"{seed:03d}_{k:05d}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, k))
            images = [sample_scene(rng, assets, *SIZE) for _ in range(PER_SHARD)]
            write_shard(path, [(image.rgb, image.part) for image in images])
        yield path
