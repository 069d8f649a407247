"""Simulated prompts of the RobotSeg benchmark: where a careful user would click, given the true mask.

Protocol: VRS benchmark of RobotSeg (arXiv 2511.22950); the click in the middle of the error is that of RITM
(Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", ICIP 2022), which
SAM 2 uses too. Points are (x, y) in pixels, pixel centres at whole numbers; labels 1 = on the object, 0 = not.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Decode = Callable[[np.ndarray, np.ndarray], np.ndarray]  # points (n,2), labels (n,) -> mask (H,W) bool


def first_click(truth: np.ndarray) -> np.ndarray:
    """The pixel of a mask (H,W) that lies nearest its centroid, as (2,) float32; the first in reading order of equals.

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.nonzero(truth)
    if not len(rows):
        raise ValueError("a click needs a mask that is not empty")
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return np.array([columns[nearest], rows[nearest]], np.float32)


def error_click(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, int]:
    """The innermost pixel of what is missing (label 1) or too much (label 0), whichever reaches deeper inside.

    Depth is the Euclidean distance to the nearest pixel that is right; the picture's border counts as such. Equal
    depths give label 0; masks that agree give the first pixel of the picture, on which nobody needs to click.

    Returns:
        Point (2,) float32 and label.
    """
    truth, predicted = np.asarray(truth) != 0, np.asarray(predicted) != 0
    missing, surplus = (_depth(region) for region in (truth & ~predicted, predicted & ~truth))
    label = int(missing.max() > surplus.max())
    row, column = np.unravel_index(np.argmax(missing if label else surplus), truth.shape)
    return np.array([column, row], np.float32), label


def box_around(truth: np.ndarray) -> np.ndarray:
    """The tight box (x0, y0, x1, y1) of a mask (H,W) as (4,) float32; x1 and y1 are one past the last pixel.

    Raises:
        ValueError: the mask is empty.
    """
    x, y, w, h = cv2.boundingRect((np.asarray(truth) != 0).astype(np.uint8))
    if not w:
        raise ValueError("a box needs a mask that is not empty")
    return np.array([x, y, x + w, y + h], np.float32)


def overlap(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union; 0 where both are empty (unlike J: an empty prompt frame is no success)."""
    union = np.count_nonzero(predicted | truth)
    return float(np.count_nonzero(predicted & truth) / union) if union else 0.0


def click_until(
    truth: np.ndarray, decode: Decode, clicks: int = 3, predicted: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Click up to `clicks` times at the middle of the error, then apply the prefix of the clicks that was best.

    The first click is `first_click` unless there is a `predicted` mask to correct. `decode` gets all clicks so far
    each time, and the best prefix (the shortest of equals) once more at the end, as the benchmark's scripts do:
    a predictor that remembers its last logits refines them there.

    Args:
        truth, predicted: (H,W) bool.

    Returns:
        The mask of that last call (H,W) bool, and how many clicks the prefix has.
    """
    points: list[np.ndarray] = []
    labels: list[int] = []
    scores: list[float] = []
    mask = predicted
    for _ in range(clicks):
        point, label = (first_click(truth), 1) if mask is None else error_click(truth, mask)
        points.append(point)
        labels.append(label)
        mask = decode(np.array(points), np.array(labels, np.int32))
        scores.append(overlap(mask, truth))
    best = int(np.argmax(scores)) + 1
    return decode(np.array(points[:best]), np.array(labels[:best], np.int32)), best


def _depth(region: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest one outside the region (H,W), the outside of the picture included."""
    padded = np.pad(region.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
