"""How good masks are: region overlap J and boundary measure F as DAVIS defines them.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR
2016).
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
    """F measure of the two outlines, matched within `bound` of the image diagonal (rounded up to whole
    pixels).

    Precision is the share of predicted outline pixels within reach of a true one, recall the reverse; 1
    when both
    masks are empty, 0 when one is.

    Raises:
        ValueError: the masks have different shapes.
    """
    a, b = _pair(predicted, truth)
    radius = int(np.ceil(bound * np.linalg.norm(a.shape))) if bound < 1 else int(bound)
    edge_a, edge_b = outline(a), outline(b)
    count_a, count_b = int(edge_a.sum()), int(edge_b.sum())
    if count_a == 0 or count_b == 0:
        return float(count_a == count_b)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    near_a, near_b = (cv2.dilate(e.astype(np.uint8), disk) > 0 for e in (edge_a, edge_b))
    precision = np.count_nonzero(edge_a & near_b) / count_a
    recall = np.count_nonzero(edge_b & near_a) / count_b
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def outline(mask: np.ndarray) -> np.ndarray:
    """DAVIS's one-pixel outline of a boolean mask (H,W): pixels that differ from the right, lower or
    diagonal one."""
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
