"""Which frames of a clip to look at first: few, and as different as can be."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pose.solver import Level
from pose.targets import MIN_SHARE, Targets, shrink
from pose.tracking import FINE, PYRAMID

SCAN_WIDTH = 64


def scan(targets: Targets, say: Callable[[str, int, int], None]) -> list[np.ndarray | None]:
    """A thumbnail (C,h,w) uint8 of every frame that shows a robot."""
    out: list[np.ndarray | None] = []
    for t in range(len(targets)):
        target = shrink(targets.read(t, FINE.width), Level(SCAN_WIDTH, 1.0))
        out.append((target * 255).astype(np.uint8) if target.max(0).mean() > MIN_SHARE else None)
        say("scan", t + 1, len(targets))
    return out


def choose(thumbnails: list[np.ndarray | None], count: int) -> list[int]:
    """Frames that differ most from each other (farthest-point sampling), in order of time."""
    index = [t for t, thumb in enumerate(thumbnails) if thumb is not None]
    if len(index) > 400:  # enough to choose from
        index = [index[i] for i in np.linspace(0, len(index) - 1, 400).astype(int)]
    flat = np.stack([cv2.blur(thumbnails[t][0], (5, 5)).ravel() for t in index]).astype(np.float32)  # type: ignore[index]
    area = flat.sum(1)
    chosen = [int(np.argsort(area)[len(area) // 2])]
    distance = np.linalg.norm(flat - flat[chosen[0]], axis=1)
    while len(chosen) < min(count, len(index)):
        nearest = int(np.argmax(distance))
        if distance[nearest] <= 0:
            break
        chosen.append(nearest)
        distance = np.minimum(distance, np.linalg.norm(flat - flat[nearest], axis=1))
    return sorted(index[i] for i in chosen)


def pyramids(targets: Targets, frames: list[int]) -> tuple[list[np.ndarray], ...]:
    """The masks of some frames at every level of the pyramid: a list of (C,h,w) a level."""
    fine = [targets.read(t, FINE.width) for t in frames]
    return (*tuple([shrink(target, level) for target in fine] for level in PYRAMID[:-1]), fine)
