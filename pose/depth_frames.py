"""What frames show of a robot beside their depth, read as it is needed: masks, and edges where these are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pose.camera import Camera
from pose.clip_fit import ClipFit
from pose.depth import inner
from pose.edges import Edges
from pose.errors import FitError
from pose.tracking import FINE

Depths = Callable[[], Iterable[np.ndarray]]


def sized(depth: Iterable[np.ndarray], camera: Camera) -> Iterable[np.ndarray]:
    for t, image in enumerate(depth):
        if image.shape != (camera.height, camera.width):
            raise FitError(
                f"depth picture {t} has shape {'x'.join(map(str, image.shape))}, expected {camera.height}x"
                f"{camera.width}: align depth with the colour camera"
            )
        yield image


@dataclass(frozen=True)
class DepthFrame:
    """One frame's evidence: depth in metres, where it may show the robot, masks, edges of the picture."""

    number: int
    depth: np.ndarray
    allowed: np.ndarray
    target: np.ndarray
    edges: Edges | None


@dataclass(frozen=True)
class DepthSource:
    """Reads frames."""

    clip: ClipFit
    depth: Depths
    factor: float
    pictures: Depths | None

    def frames(self, wanted: np.ndarray) -> list[DepthFrame]:
        """All of some frames at once."""
        return list(self.stream(wanted))

    def stream(self, wanted: np.ndarray) -> Iterator[DepthFrame]:
        """Frame by frame; ends where depth or pictures end."""
        clip, camera = self.clip, self.clip.fit.camera
        depths = clip.straight(sized(self.depth(), camera), wanted, cv2.INTER_NEAREST)
        shown = None if self.pictures is None else clip.straight(self.pictures(), wanted)
        whole = bool((clip.targets.channels[0] > 0).all())
        for t, image in depths:
            edges = None
            if shown is not None:
                pair = next(shown, None)
                if pair is None:
                    return
                edges = Edges.of(pair[1])
            image = image.astype(np.float32) * np.float32(self.factor)
            allowed = inner(clip.mask(t)) if whole else np.ones(image.shape, bool)
            yield DepthFrame(t, image, allowed, clip.targets.read(t, FINE.width), edges)
