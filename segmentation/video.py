"""Frames of a video file or of a folder of images, one at a time: memory does not grow with the length."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from segmentation.errors import VideoError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Frame:
    """index counts from 0; time_s since the first frame; image (H,W,3) uint8 RGB, upright."""

    index: int
    time_s: float
    image: np.ndarray


class VideoReader(ABC):
    """Iterate to get frames from the start, as often as you like.

    Attributes:
        path: the file or folder. width, height: in pixels, after rotation. fps: nominal frames a second.
        frame_count: None where the container does not say.
    """

    path: Path
    width: int
    height: int
    fps: float
    frame_count: int | None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order; raises VideoError at the first one that cannot be read."""


def open_video(path: str | Path, fps: float | None = None) -> VideoReader:
    """Open a video file or a folder of images (natural order: 2.png before 10.png).

    Args:
        fps: only for folders, default 30; files carry their own timestamps.

    Raises:
        VideoError: nothing there, empty, not a video, sound only, damaged from the first frame on, or
        images of
            different sizes. One line that names the file.
    """
    path = Path(path)
    if not path.exists():
        raise VideoError(f"{path}: no such file or folder")
    if fps is not None and not 0 < fps < 1e5:
        raise VideoError(f"{path}: fps must be a positive number, got {fps}")
    return ImageFolder(path, fps or 30.0) if path.is_dir() else VideoFile(path)


def natural_key(path: Path) -> list:
    """Sort key under which frame2 comes before frame10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name)]


class ImageFolder(VideoReader):
    """Images of one folder, all of one size; hidden files and other file types are passed over."""

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, float(fps)
        names = (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
        self.files = sorted(names, key=natural_key)
        if not self.files:
            kinds = " ".join(sorted(s[1:] for s in IMAGE_SUFFIXES))
            raise VideoError(f"{path}: the folder holds no images ({kinds})")
        self.frame_count = len(self.files)
        self.height, self.width = read_image(self.files[0]).shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self.files):
            image = read_image(file)
            h, w = image.shape[:2]
            if (w, h) != (self.width, self.height):
                raise VideoError(
                    f"{file}: {w}x{h} pixels, but {self.files[0].name} has {self.width}x{self.height};"
                    " all frames must have one size"
                )
            yield Frame(index, index / self.fps, image)


def read_image(file: Path) -> np.ndarray:
    data = np.fromfile(file, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise VideoError(f"{file}: not a readable image (empty, damaged or another format)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class VideoFile(VideoReader):
    """A video file through FFmpeg. Timestamps are the file's own, so a varying frame rate is kept."""

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise VideoError(f"{path}: neither a file nor a folder of images")
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: the file is empty (0 bytes)")
        with self.open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or Fraction(30)
            self.fps = float(rate)
            self.frame_count = int(stream.frames) or None
            # where the container counts no frames, its length tells a cut file (sound may be longer: then
            # nothing does)
            alone = len(container.streams) == 1 and self.frame_count is None
            self._seconds = (container.duration or 0) / 1e6 if alone else 0.0
        first = next(iter(self), None)
        if first is None:
            raise VideoError(f"{path}: the video holds no frames")
        self.height, self.width = first.image.shape[:2]

    def open(self) -> av.container.InputContainer:
        """The file, opened at its start; raises VideoError where it is no video."""
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = str(getattr(error, "strerror", "") or error).splitlines()[0]
            raise VideoError(f"{self.path}: not a readable video, or cut off ({reason})") from None
        if not container.streams.video:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            container.close()
            raise VideoError(f"{self.path}: no video stream in it (only {kinds})")
        return container

    def __iter__(self) -> Iterator[Frame]:
        for index, time_s, picture in self.pictures():
            yield Frame(index, time_s, upright(picture))

    def pictures(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """(index, seconds since the first frame, decoded picture) of every frame; raises as iterating does."""
        start: float | None = None
        index, last = 0, -1.0
        with self.open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for picture in container.decode(stream):
                    time = picture.time if picture.time is not None else index / self.fps
                    start = time if start is None else start
                    # damaged files can repeat or reverse timestamps: keep them increasing
                    time_s = max(time - start, last + 1e-6) if index else 0.0
                    last = time_s
                    yield index, time_s, picture
                    index += 1
            except (av.FFmpegError, OSError) as error:
                reason = str(getattr(error, "strerror", "") or error).splitlines()[0]
                raise VideoError(f"{self.path}: damaged or cut off after {index} frames ({reason})") from None
        if self.frame_count is not None and index < 0.98 * self.frame_count - 1:
            raise VideoError(f"{self.path}: cut off: {index} frames can be read of {self.frame_count} announced")
        if last + (start or 0.0) < 0.97 * self._seconds - 2 / self.fps:
            raise VideoError(f"{self.path}: cut off: it ends after {last:.1f} s of {self._seconds:.1f} s announced")


def upright(picture: av.VideoFrame) -> np.ndarray:
    """RGB image (H,W,3), turned as the file's rotation metadata asks."""
    image = picture.to_ndarray(format="rgb24")
    turns = round(getattr(picture, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
