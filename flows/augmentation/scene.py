"""What the robot is put into: photographs, or a room of textures, with a table at the robot's base and its shadow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flows.augmentation.light import Lighting
from flows.augmentation.matte import linear
from flows.errors import FlowError
from pose.camera import Camera
from pose.props import grid
from pose.shading import Light, Material, Prop, plain_room, render_color
from segmentation.errors import VideoError
from segmentation.video import IMAGE_SUFFIXES, natural_key, read_image
from urdf import Robot

CROP = (0.7, 1.0)  # of a photograph's size that is shown
MATCH = (0.3, 0.7)  # how far the robot's light follows the new surroundings' (exponent)
GAINS = (0.5, 1.1)  # at least and at most: what is white burns out beyond
HUE = 0.4  # of that, how far its colour does: surroundings' colours are not only those of light
SHADOW_WIDTH = 320  # pixels: shadows are soft
TABLE = (-0.7, 1.5, -1.1, 1.1)  # x and y of its edges in the base's frame, metres
AROUND = ((0.0, 0.0, 1.0), (0.7, 0.0, 0.7), (0.0, 0.7, 0.7), (-0.7, 0.0, 0.7), (0.0, -0.7, 0.7))  # of sky light
BELOW = 0.003  # metres from the base's plane down to the table: bases are not cut


@dataclass(frozen=True)
class Backdrop:
    """What is behind the robot.

    Attributes:
        image: (H,W,3) uint8. table: whether a table bears the robot, so that it casts a shadow.
        gain: (3,) factor on the robot's linear light. names: of the files it was made of.
    """

    image: np.ndarray
    table: bool
    gain: np.ndarray
    names: tuple[str, ...]


def list_pictures(folder: str | Path, option: str) -> list[Path]:
    """Pictures in a folder and below it, in natural order.

    Raises:
        FlowError: no such folder, or no pictures in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FlowError(f"{option} {folder}: no such folder")
    found = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise FlowError(f"{option} {folder}: no pictures in it ({' '.join(sorted(s[1:] for s in IMAGE_SUFFIXES))})")
    return sorted(found, key=lambda p: (natural_key(p), str(p)))


def make_backdrop(
    rng: np.random.Generator,
    photos: Sequence[Path],
    textures: Sequence[Path],
    camera: Camera,
    lighting: Lighting,
    before: np.ndarray,
) -> Backdrop:
    """Draw a backdrop: a photograph, before it a textured table; without photographs a room of textures.

    Args:
        camera: with T_cam_base. lighting: of the video. before: (3,) mean linear colour of the old surroundings.
    """
    names, behind = [], None
    if photos:
        photo = photos[int(rng.integers(len(photos)))]
        names.append(photo.name)
        behind = cropped(rng, _read(photo), camera.width, camera.height)
    if textures:
        count = 1 if photos else 3
        chosen = [textures[i] for i in rng.choice(len(textures), count, replace=len(textures) < count)]
        names += [path.name for path in chosen]
        surfaces = [_surface(rng, _read(path)) for path in chosen]
        scene = [table(surfaces[0])] if photos else [table(surfaces[0]), *walls(surfaces[1], surfaces[2])]
        drawn = render_color(
            None, None, camera, scene=scene, lights=lighting.lights, surroundings=lighting.surroundings,
            background=behind,
        )  # fmt: skip
        behind = drawn.rgb
    assert behind is not None
    after = linear(behind[::4, ::4]).reshape(-1, 3).mean(0)
    ratio = (np.maximum(after, 0.01) / np.maximum(before, 0.01)) ** rng.uniform(*MATCH)
    bright = ratio.mean()
    gain = np.clip(bright, *GAINS) * (ratio / bright) ** HUE
    return Backdrop(behind, bool(textures), gain, tuple(names))


def cropped(rng: np.random.Generator, photo: np.ndarray, width: int, height: int) -> np.ndarray:
    """A piece of a photograph of the video's shape, mirrored half of the time."""
    h, w = photo.shape[:2]
    scale = min(w / width, h / height) * rng.uniform(*CROP)
    cw, ch = max(1, min(w, round(width * scale))), max(1, min(h, round(height * scale)))
    x, y = rng.integers(w - cw + 1), rng.integers(h - ch + 1)
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    piece = cv2.resize(photo[y : y + ch, x : x + cw], (width, height), interpolation=method)
    return np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)


def table(material: Material) -> Prop:
    """A table's top at the robot's base."""
    x0, x1, y0, y1 = TABLE
    return Prop(*grid(np.array([x0, y0, -BELOW]), np.array([x1 - x0, 0, 0]), np.array([0, y1 - y0, 0.0]), 48), material)


def walls(near: Material, far: Material) -> list[Prop]:
    """A floor under the table and four walls around, so that every view ends on something."""
    reach, floor, ceiling = 3.0, -0.75, 3.0
    x, y, z = np.eye(3) * 2 * reach
    low = np.array([-reach, -reach, floor])
    up = z * (ceiling - floor) / (2 * reach)
    sides = [(low, y, up), (low + x, y, up), (low, x, up), (low + y, x, up)]
    return [Prop(*grid(low, x, y, 32), near), *(Prop(*grid(*side, 24), far) for side in sides)]


_DARK = np.zeros_like(plain_room())


class Shadows:
    """How much darker the robot's shadow makes the table, frame by frame."""

    def __init__(self, robot: Robot, camera: Camera, lighting: Lighting) -> None:
        self.robot = robot
        # light from everywhere casts soft shadows too: where things stand, the ground is dark
        around = lighting.surroundings.mean((0, 1, 2)) / len(AROUND)
        sky = [Light(direction, tuple(around / direction[2] * 0.7), 0.9) for direction in AROUND]
        self.lights = [*lighting.lights, *sky]
        self.camera = camera.scaled(min(1.0, SHADOW_WIDTH / camera.width))
        self.size = camera.width, camera.height
        self.scene = [table(Material((0.6, 0.6, 0.6), 1.0))]
        self.empty, _ = self._draw(None)

    def at(self, q: np.ndarray) -> np.ndarray:
        """Factor (H,W,1) float32 in 0..1 on linear light, for joints q (n,)."""
        shaded, part = self._draw(q)
        ground = (part == 0) & (self.empty > 0.01)
        # what the robot hides takes the shadow around it: the edges of the matte show it
        weight = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), 1.5)
        ratio = np.where(ground, np.clip(shaded / np.maximum(self.empty, 0.01), 0, 1), 0).astype(np.float32)
        factor = np.where(weight > 0.02, cv2.GaussianBlur(ratio, (0, 0), 1.5) / np.maximum(weight, 0.02), 1)
        return cv2.resize(factor.astype(np.float32), self.size, interpolation=cv2.INTER_LINEAR)[..., None]

    def _draw(self, q: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        drawn = render_color(
            None if q is None else self.robot, q, self.camera, scene=self.scene, lights=self.lights,
            surroundings=_DARK, background=np.zeros((1, 1, 3), np.uint8), exposure=0.5, supersample=1,
            mesh=self.robot.mesh,
        )  # fmt: skip
        return linear(drawn.rgb).mean(2), drawn.part


def _surface(rng: np.random.Generator, texture: np.ndarray) -> Material:
    scale = min(1.0, 1024 / max(texture.shape[:2]))
    image = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else texture
    return Material((1, 1, 1), float(rng.uniform(0.5, 0.9)), texture=image, texture_size=float(rng.uniform(0.4, 1.1)))


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except VideoError as error:
        raise FlowError(f"{error}; take it out of the folder") from None
    except cv2.error:
        raise FlowError(f"{path}: too large a picture; take it out of the folder") from None
