"""Scalars and pictures for TensorBoard, where the package tensorboard is installed; nothing where it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HINT = 'no TensorBoard files are written: pip install "urdfit[train]"'


class Board:
    """Writes to a folder that `tensorboard --logdir` shows.

    Args:
        folder: made when it is needed.
        start: entries of this step and later, of a run that was killed, are taken back.
        log: is told once if the package is missing.
    """

    def __init__(self, folder: Path, start: int, log: Callable[[str], None]):
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log(HINT)
            return
        self._writer = SummaryWriter(str(folder), purge_step=start)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def pictures(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Pictures (H,W,3) uint8 by name."""
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(name, picture, step, dataformats="HWC")

    @property
    def wanted(self) -> bool:
        """Will anything be written?"""
        return self._writer is not None

    def close(self) -> None:
        """Write what is held back."""
        if self._writer is not None:
            self._writer.close()
