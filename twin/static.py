"""The still background of still cameras: what stays when robot and moving things are taken out over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pose.camera import Camera
from twin.errors import TwinError
from twin.observation import Observation
from twin.static_kernel import MODES, choose, vote
from twin.tsdf import check


@dataclass(frozen=True)
class StaticSettings:
    """How a camera's pictures become one.

    Attributes:
        min_votes: pictures that must agree on a pixel; with fewer pictures, all of them.
        part: least share of the pictures in which the pixel was not hidden that must agree.
        depth_noise: two depths agree within this times z^2 (1/m), plus 5 mm.
        shade: two colours agree within so many grey levels in every channel; counts where there is no depth.
        still_px: a camera stands still while the corners of its picture, at one metre, move by no more pixels.
    """

    min_votes: int = 3
    part: float = 0.1
    depth_noise: float = 0.01
    shade: float = 30.0
    still_px: float = 0.25


class Plate:
    """One camera's pictures, voted on pixel by pixel, in memory that does not grow with their number.

    Every pixel keeps MODES explanations (mixture models after Stauffer and Grimson, 1999, with votes in place of
    densities), so a thing that stands before the background for a part of the time is told from it.
    """

    def __init__(self, first: Observation, settings: StaticSettings) -> None:
        self.settings, self.camera, self.view, self.time_s = settings, first.camera, first.view, first.time_s
        size = first.image.shape[:2]
        self.count = 0
        self.with_depth = self.with_mask = False
        self.votes = np.zeros((*size, MODES), np.float32)
        self.depth = np.zeros((*size, MODES), np.float32)
        self.color = np.zeros((*size, MODES, 3), np.float32)
        self.inside = np.zeros((*size, MODES), np.float32)
        self.known = np.zeros(size, np.float32)

    def add(self, seen: Observation) -> None:
        """Take one more picture; its hidden pixels do not vote."""
        size = self.known.shape
        self.count += 1
        self.with_depth |= seen.depth is not None
        self.with_mask |= seen.mask is not None
        depth = np.zeros(size, np.float32) if seen.depth is None else np.asarray(seen.depth, np.float32)
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
        nothing = np.zeros(size, bool)
        vote(
            self.votes, self.depth, self.color, self.inside, self.known,
            depth, nothing if seen.ignore is None else seen.ignore, seen.image.astype(np.float32),
            nothing if seen.mask is None else seen.mask, self.settings.depth_noise, self.settings.shade,
        )  # fmt: skip

    def result(self) -> Observation:
        """What stayed: `ignore` where no explanation has enough votes."""
        s = self.settings
        chosen = choose(self.votes, self.depth, self.known, min(s.min_votes, self.count), s.part)
        at = np.maximum(chosen, 0)[..., None].astype(np.int64)
        none = chosen < 0

        def pick(values: np.ndarray) -> np.ndarray:
            return np.take_along_axis(values, at, 2)[..., 0]

        color = np.take_along_axis(self.color, at[..., None], 2)[:, :, 0]
        image = np.where(none[..., None], 0, np.clip(np.round(color), 0, 255)).astype(np.uint8)
        depth = np.where(none, 0, pick(self.depth)).astype(np.float32) if self.with_depth else None
        mask = ~none & (pick(self.inside) > 0.5 * pick(self.votes)) if self.with_mask else None
        return Observation(self.camera, image, depth, none, mask, self.view, self.time_s)


def still_views(observations: Iterable[Observation], settings: StaticSettings | None = None) -> Iterator[Observation]:
    """One clean picture a still camera: robot and moving things removed, holes filled from other times, depth averaged.

    Where a pixel saw several things the farthest counts, if depth tells; else the one it saw most. What stood still
    all the time stays; what is hidden in all pictures is `ignore`, with depth 0. A mask is what most of those pictures
    say that the pixel agreed with. Times are those of the first picture of each.

    Args:
        observations: any order of views, taken once; `ignore` marks the robot. Memory: 76 bytes a pixel and view.

    Yields:
        In the order in which the views came first; a camera that moves (or zooms) gives one picture for every place.

    Raises:
        TwinError: a picture without a placed camera, or whose arrays do not fit it.
    """
    s = settings or StaticSettings()
    if s.min_votes < 1 or not 0 <= s.part <= 1:
        raise TwinError(f"min_votes must be 1 or more and part in 0..1, got {s.min_votes} and {s.part}")
    plates: dict[int, Plate] = {}
    for seen in observations:
        check(seen)
        plate = plates.get(seen.view)
        if plate is not None and not stands_still(plate.camera, seen.camera, s.still_px):
            yield plate.result()
            plate = None
        if plate is None:
            plate = plates[seen.view] = Plate(seen, s)
        plate.add(seen)
    for plate in plates.values():
        yield plate.result()


def stands_still(a: Camera, b: Camera, pixels: float) -> bool:
    """Whether two cameras show the same: points at one metre in the picture's corners move by no more than `pixels`."""
    if (a.width, a.height) != (b.width, b.height):
        return False
    corners = np.array([[u, v, 1.0] for u in (0, a.width - 1) for v in (0, a.height - 1)])
    points = corners @ np.linalg.inv(np.asarray(a.K, float)).T
    T = np.asarray(b.T_cam_base, float) @ np.linalg.inv(np.asarray(a.T_cam_base, float))
    moved = points @ T[:3, :3].T + T[:3, 3]
    if (moved[:, 2] <= 0).any():
        return False
    return bool(np.abs(b.project(moved) - corners[:, :2]).max() <= pixels)
