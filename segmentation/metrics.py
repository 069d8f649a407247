"""How good masks are: region overlap J and boundary measure F as DAVIS defines them.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation"
(CVPR 2016), and the outline and matching of the DAVIS 2017 evaluation.
"""

from __future__ import annotations

import cv2
import numpy as np


def jaccard(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks (H,W), non-zero is inside; 1 when both are empty.

    Raises:
        ValueError: the masks have different shapes.
    """
    a, b = _pair(predicted, truth)
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else float(np.count_nonzero(a & b) / union)


def boundary_f(predicted: np.ndarray, truth: np.ndarray, bound: float = 0.008) -> float:
    """F measure of the two outlines of masks (H,W), matched within a disk of `bound` image diagonals.

    The radius is rounded up to whole pixels; a `bound` of 1 or more is in pixels. Precision P is the share of
    predicted outline pixels with a true one inside the disk, recall R the reverse, F = 2PR / (P + R). Two masks
    without outline give 1. Where only one has an outline, P and R are 1 and 0 (nothing predicted) or 0 and 1
    (nothing there), so F is 0. A mask that fills the picture has no outline either.

    Raises:
        ValueError: the masks have different shapes.
    """
    a, b = _pair(predicted, truth)
    radius = int(np.ceil(bound * np.linalg.norm(a.shape))) if bound < 1 else int(bound)
    edge_a, edge_b = outline(a), outline(b)
    count_a, count_b = int(np.count_nonzero(edge_a)), int(np.count_nonzero(edge_b))
    if count_a == 0 or count_b == 0:
        return float(count_a == count_b)
    # no pixel outside the box around both outlines can match or be matched
    x, y, w, h = cv2.boundingRect((edge_a | edge_b).astype(np.uint8))
    edge_a, edge_b = edge_a[y : y + h, x : x + w], edge_b[y : y + h, x : x + w]
    across, down = np.meshgrid(*[np.arange(-radius, radius + 1)] * 2)
    disk = (across**2 + down**2 <= radius**2).astype(np.uint8)
    near_a, near_b = (cv2.dilate(e.astype(np.uint8), disk) > 0 for e in (edge_a, edge_b))
    precision = np.count_nonzero(edge_a & near_b) / count_a
    recall = np.count_nonzero(edge_b & near_a) / count_b
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def outline(mask: np.ndarray) -> np.ndarray:
    """DAVIS's one-pixel outline of a boolean mask (H,W) at the picture's own size.

    Pixels that differ from their right, lower or lower right neighbour. The last row and column have only a
    right or a lower one, the last pixel none.
    """
    east, south, corner = mask.copy(), mask.copy(), mask.copy()
    east[:, :-1] = mask[:, 1:]
    south[:-1] = mask[1:]
    corner[:-1, :-1] = mask[1:, 1:]
    edge = (mask ^ east) | (mask ^ south) | (mask ^ corner)
    edge[-1] = mask[-1] ^ east[-1]
    edge[:, -1] = mask[:, -1] ^ south[:, -1]
    edge[-1, -1] = False
    return edge


def _pair(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(predicted) != 0, np.asarray(truth) != 0
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"masks must be two (H,W) arrays of one size, got {a.shape} and {b.shape}")
    return a, b
