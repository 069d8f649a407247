"""What a camera and its codec do to a picture: colours, lens blur, few pixels, noise, JPEG and H.264."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

HALF = 2.2  # gamma between stored bytes and light


@dataclass(frozen=True)
class Sensor:
    """One camera: the same for all frames of a clip, but for the noise.

    Attributes:
        gain: of red, green and blue. contrast, saturation: 1 leaves them as they are.
        vignette: share of the light that the corners lose.
        blur: of the lens, pixels (standard deviation); never none, as no real edge is a staircase.
        detail: share of the pixels a side that the camera really has.
        noise: standard deviation in bytes at medium brightness, for light (shot noise) and darkness (read noise).
        jpeg: quality of an earlier compression, 0 for none. crf: of an earlier H.264 compression of clips, 0 for none.
        shutter: seconds during which light comes in for one frame.
    """

    gain: tuple[float, float, float]
    contrast: float
    saturation: float
    vignette: float
    blur: float
    detail: float
    noise: tuple[float, float]
    jpeg: int
    crf: int
    shutter: float

    def develop(self, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture (H,W,3) uint8 as this camera stores it."""
        h, w = rgb.shape[:2]
        x: Any = rgb.astype(np.float32) * (np.array(self.gain, np.float32) / 255)
        if self.vignette:
            x *= _vignette(h, w, self.vignette)
        x = cv2.GaussianBlur(x, (0, 0), self.blur)
        if self.detail < 1:
            x = cv2.resize(x, (int(w * self.detail), int(h * self.detail)), interpolation=cv2.INTER_AREA)
        grey = x.mean(2, keepdims=True)
        x = (grey + (x - grey) * self.saturation - 0.5) * self.contrast + 0.5
        shot, read = self.noise
        if shot or read:
            grain = rng.standard_normal(x.shape, np.float32) / np.float32(255)
            x += grain * (np.float32(read) + np.float32(shot) * np.sqrt(np.clip(x, 0, 1)))
        out = np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8)
        if self.jpeg:
            data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return out if self.detail >= 1 else cv2.resize(out, (w, h), interpolation=cv2.INTER_LINEAR)


def random_sensor(rng: np.random.Generator, clip: bool = False) -> Sensor:
    """A camera between a good one (a third) and a bad one. Training adds its own effects, so most are mild."""
    good = rng.random() < 0.35
    coded = rng.random() < 0.6
    return Sensor(
        gain=tuple(np.exp(rng.normal(0, 0.02 if good else 0.06, 3))),
        contrast=float(np.exp(rng.normal(0, 0.03 if good else 0.12))),
        saturation=float(rng.uniform(0.9, 1.1) if good else rng.uniform(0.6, 1.25)),
        vignette=0.0 if rng.random() < 0.7 else float(rng.uniform(0.05, 0.35)),
        blur=float(rng.uniform(0.45, 0.6) if good else rng.uniform(0.5, 1.1)),
        detail=1.0 if good or rng.random() < 0.75 else float(rng.uniform(0.5, 0.95)),
        noise=(0.0, 0.0) if good else (float(rng.uniform(0, 6)), float(rng.uniform(0, 3))),
        jpeg=int(rng.integers(35, 90)) if coded and not clip and not good else 0,
        crf=int(rng.integers(20, 36)) if coded and clip and not good else 0,
        shutter=0.0 if not clip or rng.random() < 0.5 else float(rng.uniform(0.004, 0.04)),
    )


def exposed(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of pictures (H,W,3) uint8 in light, not in bytes: what a shutter that stays open collects."""
    if len(pictures) == 1:
        return pictures[0]
    to_light = (np.arange(256, dtype=np.float32) / 255) ** np.float32(HALF)
    light = sum(to_light[picture] for picture in pictures) / np.float32(len(pictures))
    return (np.asarray(light) ** np.float32(1 / HALF) * 255 + 0.5).astype(np.uint8)


def recoded(pictures: Sequence[np.ndarray], crf: int, fps: int) -> list[np.ndarray]:
    """Pictures (H,W,3) uint8, H and W even, after H.264 at a constant rate factor (18 good, 35 bad)."""
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    data.seek(0)
    with av.open(data, "r") as coded:
        return [frame.to_ndarray(format="rgb24") for frame in coded.decode(video=0)]


def _vignette(height: int, width: int, loss: float) -> np.ndarray:
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    return 1 - np.float32(loss / 2) * (x[None, :, None] ** 2 + y[:, None, None] ** 2)
