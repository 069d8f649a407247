"""Outlines as fields of signed distance: what silhouettes tell about space, at one reading a point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from twin.errors import TwinError
from twin.hull_kernel import UNIT, UNKNOWN
from twin.observation import Observation
from twin.tsdf import check

MOST = 2000.0  # pixels; distances are cut there, so that they fit 16 bits


@dataclass(frozen=True, eq=False)
class Outlines:
    """All masks of one thing.

    Attributes:
        fields: (V,H,W) int16, distance in 1/16 pixel inside the outline (negative outside), UNKNOWN where hidden.
        sizes: (V,3) height and width of each, smaller pictures stand in the upper left corner; and 1 where the thing
            does not reach the picture's border, so that nothing of it is outside the picture.
        images: (V,H,W,3) uint8.
        K: (V,3,3); T_cam_base: (V,4,4).
    """

    fields: np.ndarray
    sizes: np.ndarray
    images: np.ndarray
    K: np.ndarray
    T_cam_base: np.ndarray


def signed_distance(mask: np.ndarray, ignore: np.ndarray | None) -> np.ndarray:
    """Pixels from the outline, positive inside, (H,W) int16 in 1/16 pixel; UNKNOWN where `ignore`.

    What hides the thing may hide a part of it: beside hidden pixels no outline is seen, only where both sides are
    known. The outline runs half-way between the last pixel inside and the first outside.
    """
    solid = mask if ignore is None else mask | ignore
    inside = cv2.distanceTransform(solid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~solid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    field = np.clip(np.where(solid, inside - 0.5, 0.5 - outside), -MOST, MOST)
    field = np.round(UNIT * cv2.GaussianBlur(field, (0, 0), 0.7)).astype(np.int16)  # stairs of pixels smoothed
    if ignore is not None:
        field[ignore] = UNKNOWN
    return field


def collect_outlines(observations: Iterable[Observation], memory_gb: float) -> Outlines:
    """The outlines of all pictures that have a mask; empty masks count: they say that nothing is there.

    Raises:
        TwinError: no mask shows anything, too many pictures for the memory, or a picture without a placed camera.
    """
    fields, images, cameras, whole = [], [], [], []
    used = 0
    for seen in observations:
        check(seen)
        if seen.mask is None:
            continue
        used += 5 * seen.mask.size
        if 2 * used > memory_gb * 1e9:  # once in the list, once stacked
            raise TwinError(
                f"more than {memory_gb:g} GB of masks: merge the frames of still cameras first "
                "(twin.static.still_views)"
            )
        fields.append(signed_distance(seen.mask, seen.ignore))
        images.append(seen.image)
        solid = seen.mask if seen.ignore is None else seen.mask | seen.ignore
        whole.append(not (solid[[0, -1]].any() or solid[:, [0, -1]].any()))
        cameras.append(seen.camera)
    if not any((field > 0).any() for field in fields):
        raise TwinError("nothing to carve: no picture has a mask that shows anything")
    sizes = np.array([field.shape for field in fields])
    height, width = sizes.max(0)
    views = np.column_stack([sizes, whole]).astype(np.int64)
    stack = np.full((len(fields), height, width), UNKNOWN, np.int16)
    pictures = np.zeros((len(fields), height, width, 3), np.uint8)
    for n, (h, w) in enumerate(sizes):
        stack[n, :h, :w], pictures[n, :h, :w] = fields[n], images[n]
    K = np.array([np.asarray(camera.K, float) for camera in cameras])
    return Outlines(stack, views, pictures, K, np.array([np.asarray(c.T_cam_base, float) for c in cameras]))
