"""Frames that were worked on out of order, given back in order: what comes early waits in a temporary file."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

Masks = dict[str, np.ndarray]  # part -> (H,W) float32 probability


def in_order(tracked: Iterable[tuple[int, Masks]]) -> Iterator[Masks]:
    """The masks of (index, masks) pairs by index from 0; memory does not grow, whatever the order.

    Masks that had to wait come back rounded to 1/255, on the same side of a half.
    """
    following = 0
    with tempfile.TemporaryFile(prefix="urdfit-masks-") as file:
        places: dict[int, tuple[int, list[tuple[str, tuple[int, ...], int]]]] = {}
        for index, masks in tracked:
            if index != following:
                places[index] = _put(file, masks)
                continue
            yield masks
            following += 1
            while following in places:
                yield _take(file, *places.pop(following))
                following += 1
        for index in sorted(places):
            yield _take(file, *places[index])


def _put(file: IO[bytes], masks: Masks) -> tuple[int, list[tuple[str, tuple[int, ...], int]]]:
    start, entries = file.seek(0, 2), []
    for part, mask in masks.items():
        whole = np.ceil(np.clip(mask, 0, 1) * 255 - 0.5).astype(np.uint8)  # over a half: 128 and more
        entries.append((part, mask.shape, file.write(zlib.compress(whole.tobytes(), 1))))
    return start, entries


def _take(file: IO[bytes], start: int, entries: list[tuple[str, tuple[int, ...], int]]) -> Masks:
    file.seek(start)
    return {
        part: np.frombuffer(zlib.decompress(file.read(size)), np.uint8).reshape(shape).astype(np.float32) / 255
        for part, shape, size in entries
    }
