"""Depth pictures on disk: 16-bit PNGs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from twin.errors import TwinError


@dataclass(frozen=True)
class DepthFolder:
    """Depth of a camera's frames.

    Attributes:
        files: one a frame.
        scale: metres a unit.
        rotated: by how many bits each pixel was rotated to the left (3 in PNGs of the Princeton vision group).
    """

    files: tuple[Path, ...]
    scale: float = 0.001
    rotated: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        """Depth (H,W) float32 in metres along z, 0 where unknown; all unknown for a frame without a file.

        Raises:
            TwinError: a file that is no 16-bit picture of one channel.
        """
        file = self.files[min(index, len(self.files) - 1)]
        data = np.fromfile(file, np.uint8) if file.is_file() else np.empty(0, np.uint8)
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
            found = "nothing readable" if raw is None else f"{raw.dtype} with shape {raw.shape}"
            raise TwinError(f"{file}: expected a 16-bit PNG of one channel, got {found}")
        if index >= len(self.files):
            return np.zeros(raw.shape, np.float32)
        if self.rotated:
            bits = raw.astype(np.uint32)
            raw = ((bits >> self.rotated) | (bits << (16 - self.rotated))) & 0xFFFF
        return raw.astype(np.float32) * np.float32(self.scale)
