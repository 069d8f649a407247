"""Pictures laid onto a level plane, and from them what the plane itself looks like where things hide it.

With the cameras known, all views of the plane's own points agree; what stands on it shows in each view at another
place (inverse perspective mapping for obstacles, Bertozzi and Broggi, 1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from twin.observation import Observation

CELL = 0.004  # metres of the pictures on the plane
SHADE = 20.0  # grey levels by which a colour is another
BLUR = 101  # cells over which light changes
AROUND = 25  # cells: narrower patterns, such as joints between planks, do not end a plane
NEAR = 9  # cells within which colours change at an edge
STEPS = (30, 60, 120)  # grey levels of such a change that ends a plane: the first that leaves most of it whole
DARKEST = 0.5  # of the plane's brightness, in a shadow
STANDS = 0.4  # of a spot's border that views disagree about: it is a thing's foot
WHOLE = 0.4  # of what is seen: an outline that keeps less is a pattern's, not the plane's

Area = tuple[float, float, float, float]  # x0, y0, x1, y1 in metres


@dataclass(frozen=True, eq=False)
class PlanePicture:
    """What a plane looks like.

    Attributes:
        color: (rows,columns,3) float32, rows along y and columns along x; where views disagree, what the plane around
            suggests. lowest, highest: the same, the range over the cells next to each: cameras are a little off.
        own: (rows,columns) bool, cells of the plane; False beside its edges and where fewer than two views see it.
        light: (V,rows,columns,3) how much brighter each view sees the plane: exposure, and light that it reflects.
    """

    color: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    own: np.ndarray
    light: np.ndarray


def lay(views: Sequence[Observation], area: Area, z: float, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Colours (V,rows,columns,3) float32 of the plane's cells in every view, and which views see them."""
    columns, rows = (round((area[2] - area[0]) / cell), round((area[3] - area[1]) / cell))
    maps, seen = [], []
    for view in views:
        H = homography(view, area, z, cell)
        size, how = (columns, rows), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        known = np.ones(view.image.shape[:2], np.uint8) if view.ignore is None else (~view.ignore).astype(np.uint8)
        maps.append(cv2.warpPerspective(view.image, H, size, flags=how).astype(np.float32))
        seen.append(cv2.warpPerspective(known, H, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0)
    return np.stack(maps), np.stack(seen)


def homography(view: Observation, area: Area, z: float, cell: float) -> np.ndarray:
    """(3,3) cell (column, row) to pixel."""
    T, K = np.asarray(view.camera.T_cam_base, float), np.asarray(view.camera.K, float)
    place = np.array([[cell, 0, area[0] + cell / 2], [0, cell, area[1] + cell / 2], [0, 0, z], [0, 0, 1]])
    return K @ (T[:3] @ place)


def disagreement(views: Sequence[Observation], area: Area, z: float, cell: float) -> float:
    """Mean grey levels by which views of a plane at height z differ; infinite where no two see it."""
    maps, seen = lay(views, area, z, cell)
    both = seen.sum(0) >= 2
    if both.sum() < 100:
        return float("inf")
    apart = np.abs(maps - _median(maps, seen)).max(-1)
    # the mean, for a plane of one colour has its edges only; with a limit, for things that stand on it disagree anyway
    return float(np.minimum(np.where(seen, apart, 0).max(0)[both], 2 * SHADE).mean())


def plane_picture(maps: np.ndarray, seen: np.ndarray) -> PlanePicture:
    """The plane's own picture from `lay`.

    A thing hides the plane in one view, two things in two: there the view counts whose colour is nearest to what the
    plane around looks like, in shadow or not. Light is compared where
    views agree only, so that things do not change it.
    """
    counted = seen.sum(0) >= 2
    usual = np.nan_to_num(_median(maps, seen)).astype(np.float32)
    agreed = counted
    light = np.ones_like(maps)
    for _ in range(2):  # views of a shiny plane agree once their light is known
        light = np.stack([_light(maps[v], seen[v] & agreed, usual) for v in range(len(maps))])
        apart = np.abs(maps / light - usual).max(-1)
        agreed = counted & (np.where(seen, apart, 0).max(0) < SHADE)
    own = _extent(usual, agreed, counted)
    around = _spread(usual, own & agreed)
    agreed = agreed & ~_covered(np.abs(usual - around).max(-1) > 2 * SHADE, agreed, counted)
    around = _spread(usual, own & agreed)
    even = maps / light
    shade = np.clip((even * around).sum(-1) / np.maximum((around * around).sum(-1), 1), DARKEST, 1.0)
    far = np.where(seen, np.abs(even - shade[..., None] * around).max(-1), np.inf)
    nearest = np.take_along_axis(even, far.argmin(0)[None, ..., None], 0)[0]
    pattern = _spread(np.abs(usual - around), own & agreed).max(-1)
    known = (far.min(0) < SHADE + pattern)[..., None]
    color = np.where(agreed[..., None], usual, np.where(known, nearest, around)).astype(np.float32)
    disc = np.ones((5, 5), np.uint8)
    return PlanePicture(color, cv2.erode(color, disc), cv2.dilate(color, disc), own, light)


def _median(maps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(rows,columns,3) of the views that see a cell; with two, their mean."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells that nobody sees
        return np.nanmedian(np.where(seen[..., None], maps, np.nan), axis=0)


def _light(own: np.ndarray, known: np.ndarray, usual: np.ndarray) -> np.ndarray:
    share = known[..., None].astype(np.float32)
    mine, theirs = cv2.blur(own * share, (BLUR, BLUR)), cv2.blur(usual * share, (BLUR, BLUR))
    return np.clip((mine + 1) / (theirs + 1), 0.5, 2.0)


def _spread(color: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(rows,columns,3) mean colour of the known cells around each, of wider surroundings where none are near."""
    share = known.astype(np.float32)
    result = np.broadcast_to(color[known].mean(0) if known.any() else np.float32(128), color.shape).copy()
    for side in (4 * BLUR, BLUR):
        part = cv2.blur(share, (side, side))
        near = part > 0.1
        result[near] = (cv2.blur(color * share[..., None], (side, side)) / np.maximum(part, 1e-3)[..., None])[near]
    return result


def _extent(usual: np.ndarray, agreed: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Cells of the one surface that most agreed cells belong to, without those beside its edges.

    Around a table views may agree, too, where they see different parts of one floor: the table ends where colours,
    its pattern taken out, change at once.
    """
    smooth = cv2.medianBlur(np.clip(_filled(usual, agreed), 0, 255).astype(np.uint8), AROUND)
    disc = np.ones((NEAR, NEAR), np.uint8)
    edge = cv2.dilate(smooth, disc) - cv2.erode(smooth, disc)
    thin = np.ones((7, 7), np.uint8)
    near = cv2.morphologyEx(agreed.astype(np.uint8), cv2.MORPH_CLOSE, thin)  # lines of a pattern
    for step in STEPS:
        flat = cv2.morphologyEx(near * (edge.max(-1) < step).astype(np.uint8), cv2.MORPH_OPEN, thin)
        label, sizes = cv2.connectedComponentsWithStats(flat)[1:3]
        area = sizes[1:, cv2.CC_STAT_AREA]
        if not len(area) or area.max() < WHOLE * near.sum():
            continue  # edges of a pattern, not of the plane
        # what stands on it leaves holes in it, and bays where it stands at the edge: a level surface has neither
        outline = cv2.convexHull(np.argwhere(label == 1 + area.argmax())[:, ::-1].astype(np.int32))
        whole = cv2.fillConvexPoly(np.zeros(counted.shape, np.uint8), outline, 1)
        return counted & (cv2.dilate(whole, np.ones((5, 5), np.uint8)) > 0)
    return counted


def _covered(other: np.ndarray, agreed: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Cells that things stand on: all views see the thing there, so they agree, but beside it they do not.

    other: cells of another colour than the plane around. Spots of a pattern have a border that views agree about.
    """
    _, label = cv2.connectedComponents((other & agreed).astype(np.uint8))
    grown = cv2.dilate(label.astype(np.float32), np.ones((5, 5), np.uint8)).astype(np.int64)
    ring = (grown > 0) & (label == 0) & counted
    size = label.max() + 1
    beside = np.bincount(grown[ring], minlength=size)
    apart = np.bincount(grown[ring & ~agreed], minlength=size)
    return (label > 0) & (apart > STANDS * np.maximum(beside, 1))[label]


def _filled(color: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown cells take the colour of the nearest known one, so that things on the plane are no edges of it."""
    if not known.any():
        return color
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    row, column = np.nonzero(known)
    at = np.zeros(label.max() + 1, np.int64)
    at[label[row, column]] = np.arange(len(row))
    return color[row, column][at[label]]
