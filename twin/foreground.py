"""What stands on the plane, from colour pictures alone: a pixel whose colour the other views do not see on the plane.

With the cameras known, pictures are laid onto a level plane. Where the plane is really there all views agree; what
stands on it shows in each view at another place, so one view disagrees with the rest (inverse perspective mapping for
obstacles, Bertozzi and Broggi, 1998). The plane's height is the one at which views agree best. A thing that is low and
of one colour looks like the plane's own pattern: there masks are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.observation import Observation

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]
AROUND = ((-0.5, -1.0, -0.3), (1.3, 1.0, 0.8))  # metres: where things are looked for, where nobody says otherwise
CELL = 0.004  # metres of the pictures on the plane
SHADE = 20.0  # grey levels by which a colour is another
HEIGHTS = np.arange(-0.06, 0.0601, 0.005)  # metres: of the plane to the robot's base
BLUR = 101  # cells over which light changes
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
    z = min(HEIGHTS, key=lambda height: _disagreement(views, (x0, y0, x1, y1), float(height), 4 * CELL))
    z = float(min(z + np.arange(-0.004, 0.0041, 0.001), key=lambda h: _disagreement(views, (x0, y0, x1, y1), h, CELL)))
    maps, seen = _laid(views, (x0, y0, x1, y1), z, CELL)
    usual = _median(maps, seen)
    counted = seen.sum(0) >= 2
    if not counted.any():
        raise TwinError("no two cameras see the same part of the plane; give masks of the objects")
    masked = tuple(
        _masked(view, usual * _sheen(maps[i], seen[i] & counted, usual), counted, (x0, y0, x1, y1), z)
        for i, view in enumerate(views)
    )
    plane = _plane(usual, counted, (x0, y0), z)
    return Foreground(masked, plane, z, ((x0, y0, z + ABOVE), (x1, y1, top)))


def _laid(
    views: Sequence[Observation], area: tuple[float, ...], z: float, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (V,rows,columns,3) float32 of the plane's cells in every view, and which views see them."""
    columns, rows = (round((area[2] - area[0]) / cell), round((area[3] - area[1]) / cell))
    maps, seen = [], []
    for view in views:
        H = _homography(view, area, z, cell)
        size, how = (columns, rows), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        known = np.ones(view.image.shape[:2], np.uint8) if view.ignore is None else (~view.ignore).astype(np.uint8)
        maps.append(cv2.warpPerspective(view.image, H, size, flags=how).astype(np.float32))
        seen.append(cv2.warpPerspective(known, H, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0)
    return np.stack(maps), np.stack(seen)


def _homography(view: Observation, area: tuple[float, ...], z: float, cell: float) -> np.ndarray:
    """Cell (column, row) to pixel."""
    T, K = np.asarray(view.camera.T_cam_base, float), np.asarray(view.camera.K, float)
    place = np.array([[cell, 0, area[0] + cell / 2], [0, cell, area[1] + cell / 2], [0, 0, z], [0, 0, 1]])
    return K @ (T[:3] @ place)


def _median(maps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(rows,columns,3) of the views that see a cell; with two, their mean."""
    with np.errstate(all="ignore"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # cells that nobody sees
            return np.nanmedian(np.where(seen[..., None], maps, np.nan), axis=0)


def _disagreement(views: Sequence[Observation], area: tuple[float, ...], z: float, cell: float) -> float:
    maps, seen = _laid(views, area, z, cell)
    both = seen.sum(0) >= 2
    if both.sum() < 100:
        return float("inf")
    apart = np.abs(maps - _median(maps, seen)).max(-1)
    # the mean, for a plane of one colour has its edges only; with a limit, for things that stand on it disagree anyway
    return float(np.minimum(np.where(seen, apart, 0).max(0)[both], 2 * SHADE).mean())


def _sheen(own: np.ndarray, known: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(rows,columns,3) how much brighter a view sees the plane around a cell: exposure, and light that it reflects."""
    share = known[..., None].astype(np.float32)
    size = (BLUR, BLUR)
    mine = cv2.blur(own * share, size)
    theirs = cv2.blur(np.nan_to_num(usual).astype(np.float32) * share, size)
    return np.clip((mine + 1) / (theirs + 1), 0.5, 2.0)


def _masked(
    view: Observation, usual: np.ndarray, counted: np.ndarray, area: tuple[float, ...], z: float
) -> Observation:
    """The view with a mask: another colour than most views see on the plane behind the pixel, `usual` in its light."""
    height, width = view.image.shape[:2]
    H = _homography(view, area, z, CELL)
    expected = cv2.warpPerspective(np.nan_to_num(usual).astype(np.float32), H, (width, height), flags=cv2.INTER_LINEAR)
    on_plane = cv2.warpPerspective(counted.astype(np.uint8), H, (width, height), flags=cv2.INTER_NEAREST) > 0
    other = np.abs(view.image.astype(np.float32) - expected).max(-1) > SHADE
    mask = (other & on_plane).astype(np.uint8)
    side = 2 * max(2, width // 120) + 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # a hole would be carved through the thing; what is marked too much another view carves away
    mask = cv2.drawContours(np.zeros_like(mask), [o for o in outlines if cv2.contourArea(o) > SPECK], -1, 1, -1)
    unknown = ~on_plane if view.ignore is None else view.ignore | ~on_plane
    return replace(view, mask=mask > 0, ignore=unknown)


def _plane(usual: np.ndarray, counted: np.ndarray, corner: tuple[float, float], z: float) -> Mesh:
    """The cells that views see as squares of four by four."""
    step = 4
    small = counted[::step, ::step]
    rows, columns = np.nonzero(small[:-1, :-1] & small[1:, :-1] & small[:-1, 1:] & small[1:, 1:])
    number = np.arange(small.size).reshape(small.shape)
    a, b, c, d = (number[rows + i, columns + j] for i, j in ((0, 0), (0, 1), (1, 1), (1, 0)))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    kept, index = np.unique(faces, return_inverse=True)
    v, u = np.unravel_index(kept, small.shape)
    places = np.column_stack(
        [corner[0] + (u * step + 0.5) * CELL, corner[1] + (v * step + 0.5) * CELL, np.full(len(kept), z)]
    )
    colors = np.nan_to_num(usual[::step, ::step][v, u]).round().astype(np.uint8)
    return Mesh(places, index.reshape(faces.shape).astype(np.int32), colors)
