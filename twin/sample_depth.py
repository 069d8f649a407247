"""A depth camera's faults, put on a perfect depth picture: an active stereo camera such as RealSense's D400 series.

Source of the model: depth error grows with the square of distance (Keselman et al., "Intel RealSense stereoscopic
depth cameras", CVPRW 2017); disparity in steps, correlated over the matching window; no depth where the second
imager does not see the point; at edges pixels between near and far (flying pixels) and lost ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter


@dataclass(frozen=True)
class DepthSensor:
    """A stereo depth camera whose picture is aligned with the colour picture.

    Attributes:
        baseline: metres between its imagers. subpixel: disparity noise in pixels, one sigma.
        fixed: share of that noise which stays the same from picture to picture.
        step: disparity step in pixels. window: sigma of the noise's correlation, pixels.
        near, far: metres; nothing is measured outside. loss: share of the surface where matching fails.
        flying: share of the pixels along edges that lie between near and far.
        unit: metres a step of the stored number.
    """

    baseline: float = 0.05
    subpixel: float = 0.08
    fixed: float = 0.35
    step: float = 1 / 32
    window: float = 1.5
    near: float = 0.28
    far: float = 4.0
    loss: float = 0.02
    flying: float = 0.3
    unit: float = 0.001


def measure_depth(depth: np.ndarray, focal: float, sensor: DepthSensor, seed: int, frame: int) -> np.ndarray:
    """What the sensor reports of a true depth picture.

    Args:
        depth: (H,W) metres, 0 = nothing there. focal: pixels.
        seed: of the camera (its fixed noise). frame: number of the picture (its passing noise).

    Returns:
        (H,W) uint16 in units of `sensor.unit`, 0 where unknown.
    """
    rng, fixed_rng = np.random.default_rng((seed, 1, frame)), np.random.default_rng((seed, 2))
    scale = focal * sensor.baseline
    known = depth > 0
    disparity = np.where(known, scale / np.maximum(depth, 1e-6), 0)
    hidden = _hidden_from_second_imager(disparity)

    far, near = _around(depth, known)
    edge = known & (far > near * 1.03)
    mixed = edge & (rng.random(depth.shape) < sensor.flying)
    share = rng.random(depth.shape)
    measured = np.where(mixed, near + share * (far - near), depth)
    lost = edge & ~mixed & (rng.random(depth.shape) < 0.3)

    noise = np.sqrt(1 - sensor.fixed**2) * _smooth(rng, depth.shape, sensor.window)
    noise += sensor.fixed * _smooth(fixed_rng, depth.shape, 4 * sensor.window)
    found = scale / np.maximum(measured, 1e-6) + sensor.subpixel * noise
    found = np.round(found / sensor.step) * sensor.step
    blotch = _smooth(rng, depth.shape, 3 * sensor.window)
    lost |= blotch > np.quantile(blotch, 1 - sensor.loss)
    result = scale / np.maximum(found, 1e-3)
    valid = known & ~hidden & ~lost & (result > sensor.near) & (result < sensor.far)
    return np.where(valid, np.clip(np.round(result / sensor.unit), 0, 65535), 0).astype(np.uint16)


def _hidden_from_second_imager(disparity: np.ndarray) -> np.ndarray:
    """(H,W) bool: the second imager, to the right, sees something nearer in that direction."""
    column = np.arange(disparity.shape[1]) - disparity  # where the point falls in the second picture
    leftmost = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    beyond = np.full(column.shape, np.inf)
    beyond[:, :-1] = leftmost[:, 1:]
    return beyond < column - 1.0


def _around(depth: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Farthest and nearest depth in the 3x3 pixels around each."""
    far = maximum_filter(depth, 3)
    near = minimum_filter(np.where(known, depth, np.inf), 3)
    return far, np.where(np.isfinite(near), near, 0)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Normal noise correlated over `sigma` pixels, of standard deviation 1."""
    # away from borders the deviation after a Gaussian filter is 1 / (2 sigma sqrt(pi)), Parseval
    return gaussian_filter(rng.standard_normal(shape), sigma) * (2 * sigma * np.sqrt(np.pi))
