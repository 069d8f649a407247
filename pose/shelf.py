"""Masks that were read once, kept small: a fit looks at every frame several times."""

from __future__ import annotations

import cv2
import numpy as np

ROOM = 32 * 2**20  # bytes; what no longer fits is read again

Packed = tuple[tuple[int, ...], int, int, np.ndarray]  # shape of the planes; row, column and values of the part kept


class Shelf:
    """Planes (C,h,w) of values in 0..1 by key, to 1/255, without the empty border; never more than `room` bytes."""

    def __init__(self, room: int = ROOM):
        self._room = room
        self._kept: dict[object, Packed] = {}

    def put(self, key: object, planes: np.ndarray) -> np.ndarray:
        """The planes (C,h,w) as they will come back; as they are where there is no room to keep them."""
        x, y, w, h = cv2.boundingRect((planes.max(0) > 0).astype(np.uint8))
        part = np.rint(255 * planes[:, y : y + h, x : x + w]).astype(np.uint8)
        if part.nbytes > self._room:
            return planes
        self._room -= part.nbytes
        self._kept[key] = planes.shape, y, x, part
        return _unpacked(self._kept[key])

    def get(self, key: object) -> np.ndarray | None:
        """The planes (C,h,w) float32, None when they are not kept."""
        kept = self._kept.get(key)
        return None if kept is None else _unpacked(kept)


def _unpacked(kept: Packed) -> np.ndarray:
    shape, y, x, part = kept
    out = np.zeros(shape, np.float32)
    np.multiply(part, np.float32(1 / 255), out=out[:, y : y + part.shape[1], x : x + part.shape[2]])
    return out
