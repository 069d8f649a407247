"""Light and camera of a video, told from how its own robot looks: so that what is drawn into it belongs there.

The fitted robot's shape and paint are known. Each candidate light alone gives a picture of it; how bright the lights
are follows from least squares without negative values (Lawson and Hanson 1974), with weights that let go of pixels no
light explains. Paint that differs from the description's goes into the light: a dirty white robot means a dimmer lamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flows.augmentation.matte import linear
from flows.augmentation.plate import Plate
from pose.camera import Camera
from pose.shading import Light, plain_room, render_color
from urdf import Robot

WIDTH = 240  # of the pictures that lights are compared on
PROBE = 0.3  # brightness of a light alone: nothing is clipped
PULL = 0.01  # towards light from everywhere, as a share: neighbouring directions are hard to tell apart
BURNT = 0.93  # linear light: brighter pixels may have been any brightness
ROUNDS = 4  # of reweighting
LIGHTS = 3  # kept
SOFTNESS = 0.12  # of their shadows: a lamp of half a metre at the ceiling
BLURS = (0.4, 0.55, 0.7, 0.9, 1.2, 1.6, 2.2)  # standard deviations tried, pixels; some there always is
FULL = 0.12  # linear light by which a pixel may miss before it counts less
ELEVATIONS = ((0.95, 1), (0.65, 6), (0.2, 5))  # height and number of the candidate directions


@dataclass(frozen=True)
class Lighting:
    """What to draw a robot with.

    Attributes:
        lights, surroundings: for `render_color` with `exposure` 1.
        blur: standard deviation of the camera's blur, pixels. noise: of its noise, grey levels.
        misfit: median difference between the robot drawn so and its pictures, grey levels; NaN without pictures.
    """

    lights: tuple[Light, ...]
    surroundings: np.ndarray
    blur: float
    noise: float
    misfit: float

    def scaled(self, gain: np.ndarray) -> Lighting:
        """The same under light whose colour (3,) is that many times as bright."""
        lights = tuple(Light(x.direction, _rgb(np.array(x.color) * gain), x.softness) for x in self.lights)
        return Lighting(lights, (self.surroundings * gain).astype(np.float32), self.blur, self.noise, self.misfit)


Sample = tuple[np.ndarray, np.ndarray, np.ndarray]  # picture (H,W,3) uint8, robot mask (H,W) bool, joints (n,)


def estimate_lighting(robot: Robot, camera: Camera, samples: Sequence[Sample], plate: Plate) -> Lighting:
    """Light, blur and noise from some frames with a fitted robot.

    Args:
        camera: with T_cam_base.
        plate: the scene without the robot, of the frames' size.
    """
    directions = _directions()
    small = camera.scaled(min(1.0, WIDTH / camera.width))
    bases, seen = [], []
    for image, mask, q in samples:
        size = small.width, small.height
        light = cv2.resize(linear(image), size, interpolation=cv2.INTER_AREA)
        inside = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.98
        drawn = [_probe(robot, q, small, direction) for direction in (None, *directions)]
        use = inside & (cv2.erode((drawn[0][1] > 0).astype(np.uint8), np.ones((3, 3))) > 0)
        bases.append(np.stack([d[0][use] for d in drawn], 1))
        seen.append(light[use])
    if not seen or sum(map(len, seen)) < 100:
        return Lighting(
            (Light(), Light((-0.3, 0.2, 1.0), (0.35, 0.36, 0.4), 0.6)), plain_room(), 0.6, plate.noise, np.nan
        )
    A, b = np.concatenate(bases), np.concatenate(seen)
    weights, _, _ = _solve(A, b)
    chosen = 1 + np.argsort(-weights[1:])[:LIGHTS]  # the strongest; the surroundings take over the others' light
    weights, tint, left = _solve(A[:, [0, *chosen]], b)
    lights = tuple(
        Light(_rgb(directions[i - 1]), _rgb(w * tint), SOFTNESS) for i, w in zip(chosen, weights[1:]) if w > 0
    )
    surroundings = (plain_room() * (max(weights[0], 0.05) * tint)).astype(np.float32)
    found = Lighting(lights, surroundings, 0.0, plate.noise, left)
    blur = _blur(robot, camera, samples, plate, found)
    return Lighting(lights, surroundings, blur, plate.noise, left)


def _solve(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Brightness of the candidates (L,), colour of all light (3,), and what is left in grey levels.

    A: (P,L,3) linear pictures of each candidate alone. b: (P,3) what the pictures show.
    """
    from scipy.optimize import nnls

    grey, target = A.mean(2), b.mean(1)
    trust = np.ones(len(target))
    pull = PULL * np.sqrt(len(target)) * np.linalg.norm(grey, axis=0).mean() / np.sqrt(len(grey)) * np.eye(A.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(trust)
        weights, _ = nnls(np.vstack([grey * root[:, None], pull]), np.r_[target * root, np.zeros(len(pull))])
        shown = grey @ weights
        miss = np.abs(shown - target)
        trust = np.where((target > BURNT) & (shown > target), 1e-3, 1 / np.maximum(1, miss / FULL))
    shown = np.einsum("plc,l->pc", A, weights)
    tint = np.array([np.sum(b[:, c] * trust) / max(np.sum(shown[:, c] * trust), 1e-6) for c in range(3)])
    tint = np.clip(tint, 0.4, 2.5)
    levels = 255 * np.abs(np.clip(shown * tint, 0, 1) ** (1 / 2.2) - b ** (1 / 2.2))
    return weights, tint, float(np.median(levels))


def _directions() -> list[np.ndarray]:
    """Unit vectors towards the candidate lights, in the base's frame."""
    found = []
    for height, count in ELEVATIONS:
        for turn in np.arange(count) / count * 2 * np.pi:
            flat = np.sqrt(1 - height**2)
            found.append(np.array([np.cos(turn) * flat, np.sin(turn) * flat, height]))
    return found


def _probe(robot: Robot, q: np.ndarray, camera: Camera, direction: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The robot's linear picture and parts under one light of brightness 1 alone, or (None) the surroundings alone."""
    lights = () if direction is None else (Light(tuple(direction), (PROBE,) * 3, SOFTNESS),)
    sky = plain_room() * (PROBE if direction is None else 0.0)
    drawn = render_color(
        robot, q, camera, lights=lights, surroundings=sky, background=_BLACK, exposure=1.0, supersample=1,
        mesh=robot.mesh,
    )  # fmt: skip
    return linear(drawn.rgb) / PROBE, drawn.part


_BLACK = np.zeros((1, 1, 3), np.uint8)


def _blur(robot: Robot, camera: Camera, samples: Sequence[Sample], plate: Plate, light: Lighting) -> float:
    """The blur at which the drawn robot's outline is as steep as the pictures'; steepness is looked for nearby."""
    wanted, found = [], []
    for image, _, q in samples[:2]:
        drawn = render_color(
            robot, q, camera, lights=light.lights, surroundings=light.surroundings, background=plate.image, exposure=1.0
        )
        inside = (drawn.part > 0).astype(np.uint8)
        outline = (cv2.dilate(inside, np.ones((3, 3))) != cv2.erode(inside, np.ones((3, 3)))) & plate.seen
        if outline.sum() < 50:
            continue
        wanted.append(np.median(_steepness(image)[outline]))
        found.append([np.median(_steepness(blurred(drawn.rgb, sigma))[outline]) for sigma in BLURS])
    if not wanted:
        return 0.6
    return BLURS[int(np.argmin(np.abs(np.mean(found, 0) - np.mean(wanted))))]


def _steepness(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return cv2.dilate(slope, np.ones((5, 5)))


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A picture through a Gaussian of that standard deviation in pixels."""
    return image if sigma < 0.2 else cv2.GaussianBlur(image, (0, 0), sigma)


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b
