"""Lamps, sky and exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose.shading import Light, plain_room
from segmentation.training.assets import Assets, pick


@dataclass(frozen=True, eq=False)
class Lighting:
    """Directional lights with shadows, maps of the surroundings for `render_color`, and the exposure."""

    lights: list[Light]
    sky: np.ndarray
    exposure: float


def random_lighting(rng: np.random.Generator, assets: Assets, background: np.ndarray) -> Lighting:
    """One to three lights, a sky, and an exposure that makes a white surface medium to burnt out.

    background: (h,w,3) uint8; bright ones go with bright exposures, mostly.
    """
    lights, total = [], 0.0
    for i in range(rng.integers(1, 4)):
        d = rng.normal(0, 1, 3)
        d[2] = abs(d[2]) + 0.3
        tint = 1 + rng.normal(0, 0.08, 3)
        strength = rng.uniform(0.15, 1.1) / (1 + i)
        total += strength
        softness = float(np.exp(rng.uniform(np.log(0.03), 0)))
        lights.append(Light(tuple(d), tuple(np.clip(strength * tint, 0, 2)), softness))
    gain = rng.uniform(0.4, 1.4)
    sky = pick(rng, assets.skies) if assets.panoramas and rng.random() < 0.8 else plain_room()
    brightness = float(np.mean((background[::9, ::9] / 255.0) ** 2.2))
    exposure = rng.uniform(0.45, 1.25) / (0.5 * total + 0.5 * gain)
    exposure *= float(np.clip((brightness / 0.2) ** rng.uniform(0, 0.6), 0.35, 1.6))
    return Lighting(lights, (sky * gain).astype(np.float32), exposure)
