"""What is infinitely far behind a scene: a photo, a window of a panorama, or a drawn picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pose.camera import Camera
from pose.props import poster
from segmentation.training.assets import Assets, pick

WIDER = 1.5  # a moving camera's backdrop reaches this much beyond its first picture


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A picture (h,w,3) uint8 and the camera through which it was seen; only that camera's rotation matters."""

    image: np.ndarray
    camera: Camera

    def seen_by(self, camera: Camera) -> np.ndarray:
        """The picture (H,W,3) as a turned camera sees it, mirrored where it ends."""
        first = self.camera
        turn = np.asarray(first.T_cam_base)[:3, :3] @ np.asarray(camera.T_cam_base)[:3, :3].T
        if self.image.shape[:2] == (camera.height, camera.width) and np.abs(turn - np.eye(3)).max() < 1e-9:
            return self.image
        H = np.asarray(first.K) @ turn @ np.linalg.inv(np.asarray(camera.K))
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = camera.width, camera.height
        return cv2.warpPerspective(self.image, H, size, flags=how, borderMode=cv2.BORDER_REFLECT_101)


def random_backdrop(rng: np.random.Generator, assets: Assets, camera: Camera, moving: bool) -> Backdrop:
    """A photo mostly, sometimes a panorama; drawn patches where there are neither."""
    grow = WIDER if moving else 1.0
    wide = Camera.from_focal(round(camera.width * grow), round(camera.height * grow), camera.focal, camera.T_cam_base)
    size = wide.width, wide.height
    if assets.panoramas and (rng.random() < 0.1 or not assets.photos):
        return Backdrop(_panorama(rng, assets, *size), wide)
    return Backdrop(_photo(rng, assets, *size) if assets.photos else _patches(rng, assets, *size), wide)


def _photo(rng: np.random.Generator, assets: Assets, width: int, height: int) -> np.ndarray:
    """A piece of a photograph, mirrored at random, at the picture's size."""
    photo = pick(rng, assets.photos)
    h, w = photo.shape[:2]
    scale = rng.uniform(0.5, 1.0)
    ch = int(min(h, w * height / width) * scale)
    cw = min(w, int(ch * width / height * np.exp(rng.normal(0, 0.15))))
    y, x = rng.integers(h - ch + 1), rng.integers(w - cw + 1)
    piece = cv2.resize(photo[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return np.ascontiguousarray(piece[::-1] if rng.random() < 0.05 else piece)


def _panorama(rng: np.random.Generator, assets: Assets, width: int, height: int) -> np.ndarray:
    """A window of a panorama, tone-mapped (not a true projection: nobody can tell)."""
    image = pick(rng, assets.panoramas)
    h, w = image.shape[:2]
    ch = int(h * rng.uniform(0.3, 0.7))
    cw = min(w, int(ch * width / height))
    y = int(np.clip(rng.normal(0.5, 0.12) * h - ch / 2, 0, h - ch))
    rolled = np.roll(image, rng.integers(w), 1)[y : y + ch, :cw]
    tone = rolled / max(float(np.percentile(rolled, 90)), 1e-4) * rng.uniform(0.5, 1.2)
    tone = np.clip(tone, 0, 1) ** (1 / 2.2) * 255
    return cv2.resize(tone.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def _patches(rng: np.random.Generator, assets: Assets, width: int, height: int) -> np.ndarray:
    """Overlapping rectangles of drawn textures and posters: sharp, and no robot."""
    image = np.empty((height, width, 3), np.uint8)
    for k in range(rng.integers(4, 14)):
        h, w = (height, width) if k == 0 else rng.integers((height // 8, width // 8), (height // 2, width // 2))
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        drawn = pick(rng, assets.drawn_textures) if k == 0 or rng.random() < 0.5 else (poster(rng, 192))
        repeats = max(1, int(np.ceil(max(h, w) / rng.uniform(120, 500))))
        tiled = np.tile(drawn, (repeats, repeats, 1))
        image[y : y + h, x : x + w] = cv2.resize(tiled, (int(w), int(h)), interpolation=cv2.INTER_AREA)
    return image
