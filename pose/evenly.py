"""Some of many: indices spread evenly."""

from __future__ import annotations

import numpy as np


def evenly(count: int, most: int) -> np.ndarray:
    """Indices (int) of at most `most` of `count` items, from the first to the last; none of none."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)) if count else np.zeros(0, int)
