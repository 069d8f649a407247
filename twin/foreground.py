"""What stands on the plane, from colour pictures alone: a pixel whose colour the other views do not see on the plane.

Where the plane is really there all views agree about it, see `twin.plane_picture`; the plane's height is the one at
which they agree best. A thing that is low and of one colour looks like the plane's own pattern: there masks are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.observation import Observation
from twin.plane_picture import CELL, SHADE, Area, PlanePicture, disagreement, homography, lay, plane_picture

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]
AROUND = ((-0.5, -1.0, -0.3), (1.3, 1.0, 0.8))  # metres: where things are looked for, where nobody says otherwise
HEIGHTS = np.arange(-0.06, 0.0601, 0.005)  # metres: of the plane to the robot's base
SPECK = 40  # pixels: smaller spots are noise
ABOVE = 0.006  # metres above the plane where things begin


@dataclass(frozen=True, eq=False)
class Foreground:
    """views: with masks of what stands on the plane; plane: a coloured mesh; height: its z; bounds: of what stands."""

    views: tuple[Observation, ...]
    plane: Mesh
    height: float
    bounds: Bounds


def find_foreground(views: Sequence[Observation], bounds: Bounds | None = None) -> Foreground:
    """Masks of what stands on the level plane below.

    Args:
        views: still pictures of at least three cameras, placed and without distortion; `ignore` is not looked at.
        bounds: where to look, base frame.

    Raises:
        TwinError: fewer than three views, or no plane that two of them see.
    """
    if len(views) < 3:
        raise TwinError(
            f"without depth and without masks of objects {len(views)} views are too few: three tell what stands out; "
            "give masks of the objects"
        )
    (x0, y0, _), (x1, y1, top) = bounds or AROUND
    area = (x0, y0, x1, y1)
    z = min(HEIGHTS, key=lambda height: disagreement(views, area, float(height), 4 * CELL))
    z = float(min(z + np.arange(-0.004, 0.0041, 0.001), key=lambda h: disagreement(views, area, h, CELL)))
    maps, seen = lay(views, area, z, CELL)
    if not (seen.sum(0) >= 2).any():
        raise TwinError("no two cameras see the same part of the plane; give masks of the objects")
    picture = plane_picture(maps, seen)
    masked = tuple(_masked(view, picture, i, area, z) for i, view in enumerate(views))
    return Foreground(masked, _plane(picture, (x0, y0), z), z, ((x0, y0, z + ABOVE), (x1, y1, top)))


def _masked(view: Observation, picture: PlanePicture, number: int, area: Area, z: float) -> Observation:
    """The view with a mask: another colour than the plane behind the pixel has in this view's light."""
    height, width = view.image.shape[:2]
    H = homography(view, area, z, CELL)

    def seen_from_here(values: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
        return cv2.warpPerspective(values, H, (width, height), flags=how)

    low, high = (seen_from_here(values * picture.light[number]) for values in (picture.lowest, picture.highest))
    on_plane = seen_from_here(picture.own.astype(np.uint8), cv2.INTER_NEAREST) > 0
    image = view.image.astype(np.float32)
    other = np.maximum(low - image, image - high).max(-1) > SHADE
    mask = cv2.morphologyEx((other & on_plane).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # lines
    side = 2 * max(2, width // 120) + 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # a hole would be carved through the thing; what is marked too much another view carves away
    mask = cv2.drawContours(np.zeros_like(mask), [o for o in outlines if cv2.contourArea(o) > SPECK], -1, 1, -1)
    unknown = ~on_plane if view.ignore is None else view.ignore | ~on_plane
    return replace(view, mask=mask > 0, ignore=unknown)


def _plane(picture: PlanePicture, corner: tuple[float, float], z: float) -> Mesh:
    """The cells that views see as squares of four by four."""
    step = 4
    small = picture.own[::step, ::step]
    rows, columns = np.nonzero(small[:-1, :-1] & small[1:, :-1] & small[:-1, 1:] & small[1:, 1:])
    number = np.arange(small.size).reshape(small.shape)
    a, b, c, d = (number[rows + i, columns + j] for i, j in ((0, 0), (0, 1), (1, 1), (1, 0)))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    kept, index = np.unique(faces, return_inverse=True)
    v, u = np.unravel_index(kept, small.shape)
    places = np.column_stack(
        [corner[0] + (u * step + 0.5) * CELL, corner[1] + (v * step + 0.5) * CELL, np.full(len(kept), z)]
    )
    colors = picture.color[::step, ::step][v, u].clip(0, 255).round().astype(np.uint8)
    return Mesh(places, index.reshape(faces.shape).astype(np.int32), colors)
