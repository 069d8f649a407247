"""The boundary filter that the RobotSeg benchmark puts over VRS masks: outlines are drawn to edges of the picture.

Source: SPEC of the benchmark (RobotSeg, arXiv 2511.22950); guided filter: He, Sun, Tang, "Guided Image Filtering"
(PAMI 2013), equations 5, 6 and 8, for a grey guide.
"""

from __future__ import annotations

import cv2
import numpy as np

RADII = 3, 7  # pixels: for thin and for thick places
EPS = 1e-3  # regularisation, for a guide in 0..1
BAND = 3  # pixels on either side of the outline that may change
THIN, THICK = 2.0, 6.0  # half-widths in pixels between which the two radii are blended
MAX_CHANGE = 0.03  # of the area: beyond that the filter is taken to have failed


def refine_outline(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Move a mask's outline by up to three pixels to where the picture has an edge.

    Args:
        mask: (H,W) bool. image: (H,W,3) uint8 RGB.

    Returns:
        (H,W) bool; the mask as it was where its area would change by more than 3 %.
    """
    inside = mask.astype(np.uint8)
    if not inside.any():
        return mask.copy()
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    fine, coarse = (guided_filter(guide, inside.astype(np.float32), radius, EPS) for radius in RADII)
    # the outline itself is everywhere thin: look for the widest place near it
    width = cv2.dilate(cv2.distanceTransform(inside, cv2.DIST_L2, 5), _square(RADII[1]))
    share = np.clip((width - THIN) / (THICK - THIN), 0, 1)
    soft = fine + share * (coarse - fine)
    band = cv2.dilate(inside, _square(BAND)) != cv2.erode(inside, _square(BAND))
    refined = np.where(band, soft > 0.5, mask)
    area = np.count_nonzero(mask)
    return mask.copy() if abs(np.count_nonzero(refined) - area) > MAX_CHANGE * area else refined


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Smooth `values` (H,W) float32 along the edges of `guide` (H,W) float32, windows of 2 radius + 1 pixels."""

    def mean(a: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(a, cv2.CV_32F, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    guide_mean, value_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * value_mean) / (mean(guide * guide) - guide_mean**2 + eps)
    offset = value_mean - slope * guide_mean
    return mean(slope) * guide + mean(offset)


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1,) * 2, np.uint8)
