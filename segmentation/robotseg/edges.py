"""The edge gain of RobotSeg's memory attention: how much each 16x16 block of the frame is an outline.

Two ways to compute it, as in the original: with kornia at hand, the gradient magnitude of Canny's detector after
non-maximum suppression (Canny, "A computational approach to edge detection", 1986; no thresholds, the original
computes and discards them); without it, thresholded Sobel. The original looks at the *normalised* network input, and
divides it by 255 wherever one value exceeds 1.5; with natural frames that nearly switches the gain off.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)
BRIGHT = 1.5  # an image with a larger value is taken for one of 0..255
BLOCK = 16  # pixels a side that share a gain
EPSILON = 1e-6  # added under the root of the magnitude
SOBEL_THRESHOLD = 0.2
# Neighbours in directions of 45 degrees, from +x towards +y (down): (dy, dx).
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def edge_gain(image: Tensor, size: tuple[int, int], method: str = "canny", rescale_bright: bool = True) -> Tensor:
    """Gain map (B,1,h,w) in 0..1 of frames (B,3,H,W).

    Args:
        image: float RGB; what the original is given is normalised by mean and deviation.
        size: (h, w) of the map.
        method: "canny" or "sobel".
        rescale_bright: divide everything by 255 if any value of the batch exceeds 1.5, as the original does.

    Raises:
        ValueError: an unknown method.
    """
    if method not in ("canny", "sobel"):
        raise ValueError(f"edge method {method!r}: expected canny or sobel")
    with torch.autocast(image.device.type, enabled=False):
        image = image.float()
        if rescale_bright and image.amax() > BRIGHT:
            image = image / 255.0
        grey = sum(weight * image[:, i : i + 1] for i, weight in enumerate(GREY))
        grey = grey.clamp(0, 1)  # type: ignore[union-attr]
        if method == "canny" and grey.shape[-2:] == (BLOCK * size[0], BLOCK * size[1]):
            return _canny_of_blocks(grey)
        edges = (canny_magnitude if method == "canny" else sobel_edges)(grey)
        return F.interpolate(edges.clamp(0, 1), size=size, mode="bilinear", align_corners=False).clamp(0, 1)


def canny_magnitude(grey: Tensor) -> Tensor:
    """Gradient magnitude (B,1,H,W) on the ridges of the gradient, 0 elsewhere.

    Gaussian 5x5 of deviation 1, unnormalised Sobel, then a pixel stays if it beats both neighbours along its gradient
    (rounded to 45 degrees); to the right and below an equal one is beaten as well.
    """
    gx, gy = (F.pad(g, (1, 1, 1, 1)) for g in _sobel(_blur(grey)))
    return _ridges(gx, gy, rows=2, columns=3)


def _canny_of_blocks(grey: Tensor) -> Tensor:
    """`canny_magnitude` reduced 16 times without smoothing, as the original reduces it: the mean of the four pixels
    in the middle of each block. Nothing is suppressed elsewhere, which is most of the work.
    """
    height, width = grey.shape[-2] // BLOCK, grey.shape[-1] // BLOCK
    middle = slice(BLOCK // 2 - 2, BLOCK // 2 + 2)  # the four pixels and what is around them
    shape = (height, BLOCK, width, BLOCK)
    gx, gy = (
        g.unflatten(3, shape[2:]).unflatten(2, shape[:2])[:, :, :, middle, :, middle] for g in _sobel(_blur(grey))
    )
    edges = _ridges(gx, gy, rows=3, columns=5).clamp(0, 1)
    return edges.sum(5).sum(3) / 4


def _ridges(gx: Tensor, gy: Tensor, rows: int, columns: int) -> Tensor:
    """Magnitude of gradients where it beats its neighbours. `rows`, `columns`: axes of the picture; a pixel at
    each of their ends is dropped.
    """

    def shifted(x: Tensor, dy: int, dx: int) -> Tensor:
        return x.narrow(rows, 1 + dy, x.shape[rows] - 2).narrow(columns, 1 + dx, x.shape[columns] - 2)

    around = torch.sqrt(gx * gx + gy * gy + EPSILON)
    magnitude = shifted(around, 0, 0)
    direction = (torch.atan2(shifted(gy, 0, 0), shifted(gx, 0, 0)) * (4 / math.pi)).round().long() % 8
    kept = magnitude > math.sqrt(EPSILON)
    for k, (dy, dx) in enumerate(NEIGHBOURS):
        neighbour = shifted(around, dy, dx)
        beaten = magnitude >= neighbour if k in (0, 2) else magnitude > neighbour
        kept &= beaten | ((direction != k) & (direction != (k + 4) % 8))
    return magnitude * kept


def sobel_edges(grey: Tensor) -> Tensor:
    """Binary edges (B,1,H,W): 5x5 mean, Sobel, each image stretched to 0..1, then above 0.2."""
    gx, gy = _sobel(F.avg_pool2d(grey, 5, stride=1, padding=2))
    magnitude = torch.sqrt(gx * gx + gy * gy)
    low, high = magnitude.amin((-2, -1), keepdim=True), magnitude.amax((-2, -1), keepdim=True)
    return ((magnitude - low) / (high - low + EPSILON) > SOBEL_THRESHOLD).float()


def _blur(grey: Tensor) -> Tensor:
    """Gaussian 5x5 of deviation 1, mirrored at the border: rows, then columns.

    Flat parts of a picture make ties in the suppression which rounding decides; so this and `_sobel` multiply and add
    in the order that kornia does, and give its very bits.
    """
    steps = torch.arange(5, device=grey.device, dtype=grey.dtype) - 2
    taps = torch.exp(-steps.pow(2.0) / 2.0)
    taps = taps / taps.sum()
    rows = F.conv2d(F.pad(grey, (2, 2, 0, 0), mode="reflect"), taps.view(1, 1, 1, 5))
    return F.conv2d(F.pad(rows, (0, 0, 2, 2), mode="reflect"), taps.view(1, 1, 5, 1))


def _sobel(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Unnormalised Sobel derivatives to the right and down, (B,1,H,W) each; the border is repeated."""
    right = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=grey.device, dtype=grey.dtype)
    kernels = torch.stack([right, right.T])[:, None]
    both = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    return both[:, :1], both[:, 1:]
