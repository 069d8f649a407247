"""Any frame of a video by its number, in bounded memory: what trackers need that look at a video in their own order.

`frames[i]` is, to the last bit, the picture that iterating from the start gives as number i. A video file is decoded
once from end to end to count its pictures (containers do not say how many there are, or are wrong) and to remember of
each its timestamp and a checksum; so a picture that was reached through a keyframe is known to be the right one.
"""

from __future__ import annotations

import operator
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from segmentation.errors import VideoError
from segmentation.video import ImageFolder, VideoFile, VideoReader, open_video, read_image, upright

CACHE_BYTES = 256 * 2**20  # of decoded pictures
BLOCK = 16  # pictures decoded at least when somebody reads backwards
NEAR = 32  # pictures ahead that are decoded rather than sought
FARTHEST = 4.0  # seconds before a keyframe that are sought where a container's seeking overshoots (MPEG-TS)


class Frames(ABC):
    """The pictures of a video: `len(frames)`, `frames[i]` (H,W,3) uint8 RGB, a fresh array; iterate to stream them.

    Attributes:
        name: what messages call it. width, height: in pixels. fps: nominal frames a second.
    """

    name: str
    width: int
    height: int
    fps: float = 30.0

    @abstractmethod
    def __len__(self) -> int:
        """Exactly as many as iterating gives; raises VideoError where that would."""

    @property
    @abstractmethod
    def times(self) -> list[float]:
        """Seconds of every frame since the first."""

    @abstractmethod
    def _get(self, index: int) -> np.ndarray: ...

    def __getitem__(self, index: int) -> np.ndarray:
        number, count = operator.index(index), len(self)
        if not -count <= number < count:
            raise IndexError(f"{self.name}: frame {number} of {count}")
        image = self._get(number % count)
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            raise VideoError(
                f"{self.name}: frame {number % count} is {image.shape} {image.dtype}; expected all frames to be "
                f"({self.height}, {self.width}, 3) uint8 RGB as the first"
            )
        return image

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))


def open_frames(source: str | Path | VideoReader | Frames | Sequence[np.ndarray], fps: float | None = None) -> Frames:
    """Frames of a video file, a folder of images, any video reader, or arrays (H,W,3) uint8 RGB in a sequence.

    Raises:
        VideoError: as `open_video`, or a sequence that is empty or holds no pictures.
        TypeError: something else, such as a generator, which cannot be looked at twice.
    """
    if isinstance(source, Frames):
        return source
    if isinstance(source, str | Path):
        source = open_video(source, fps)
    if isinstance(source, VideoFile):
        return FileFrames(source)
    if isinstance(source, ImageFolder):
        return FolderFrames(source)
    if isinstance(source, VideoReader):
        from segmentation.stream_frames import StreamFrames

        return StreamFrames(source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return ArrayFrames(source, fps or 30.0)
    raise TypeError(f"frames must be a path, a video reader or a sequence of arrays, got {type(source).__name__}")


class ArrayFrames(Frames):
    """A sequence of arrays, taken from it when asked for."""

    def __init__(self, images: Sequence[np.ndarray], fps: float = 30.0):
        self.name, self.fps, self._images = "frames", float(fps), images
        if len(images) == 0:
            raise VideoError("frames: an empty sequence")
        first = np.asarray(images[0])
        if first.ndim != 3 or first.shape[2] != 3 or first.dtype != np.uint8:
            raise VideoError(f"frames: a frame must be (H,W,3) uint8 RGB, got {first.shape} {first.dtype}")
        self.height, self.width = first.shape[:2]

    def __len__(self) -> int:
        return len(self._images)

    @property
    def times(self) -> list[float]:
        return [i / self.fps for i in range(len(self))]

    def _get(self, index: int) -> np.ndarray:
        return np.array(self._images[index])


class FolderFrames(Frames):
    """The images of a folder, read when asked for."""

    def __init__(self, folder: ImageFolder):
        self.name, self.fps = str(folder.path), folder.fps
        self.width, self.height, self._files = folder.width, folder.height, folder.files

    def __len__(self) -> int:
        return len(self._files)

    @property
    def times(self) -> list[float]:
        return [i / self.fps for i in range(len(self))]

    def _get(self, index: int) -> np.ndarray:
        return read_image(self._files[index])


class _Lost(Exception):
    """Decoding from a keyframe did not give the pictures that decoding from the start gave."""


class _TooLate(_Lost):
    """Seeking landed behind the keyframe."""


@dataclass
class _Picture:
    """What is remembered of a picture: timestamp in the stream's time base, whether decoding can start, checksum."""

    pts: int | None
    key: bool
    checksum: int
    time_s: float


class FileFrames(Frames):
    """A video file: one decoder that runs on while frames are asked for in order, and restarts at keyframes."""

    def __init__(self, video: VideoFile, cache_bytes: int = CACHE_BYTES):
        self.name, self.fps = str(video.path), video.fps
        self.width, self.height, self._video = video.width, video.height, video
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._room = max(1, cache_bytes // (self.width * self.height * 3))
        self._pictures: list[_Picture] | None = None
        self._keys: list[int] = []
        self._numbers: dict[int | None, int] = {}
        self._run: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._next = 0
        self._earlier = 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        return (upright(picture) for picture in self._scan())

    def __len__(self) -> int:
        return len(self._indexed())

    @property
    def times(self) -> list[float]:
        return [picture.time_s for picture in self._indexed()]

    def _indexed(self) -> list[_Picture]:
        if self._pictures is None:
            for _ in self._scan():
                pass
        assert self._pictures is not None
        return self._pictures

    def _scan(self) -> Iterator[av.VideoFrame]:
        """Every picture from the start; the index is complete once they are through."""
        found = []
        for _, time_s, picture in self._video.pictures():
            if self._pictures is None:
                found.append(_Picture(picture.pts, bool(picture.key_frame), _checksum(picture), time_s))
            yield picture
        if self._pictures is not None:
            return
        stamps = [picture.pts for picture in found]
        rising = None not in stamps and all(a < b for a, b in pairwise(stamps))  # type: ignore[operator]
        self._keys = [0, *(i for i, picture in enumerate(found) if picture.key and i and rising)]
        self._numbers = {pts: i for i, pts in enumerate(stamps)} if rising else {}
        self._pictures = found

    def _get(self, index: int) -> np.ndarray:
        while index not in self._kept:
            backward = self._run is not None and index < self._next
            first = max(0, index + 1 - min(self._room, BLOCK)) if backward else index
            key = self._keys[bisect_right(self._keys, first) - 1]
            if self._run is None or backward or (key > self._next and index - self._next > NEAR):
                self._run, self._next = self._decode(key), -1
            try:
                self._advance(index)
            except _Lost as lost:  # an open group of pictures, or a broken keyframe: start earlier from now on
                self._run = None
                if isinstance(lost, _TooLate) and self._earlier < FARTHEST:
                    self._earlier += 1.0
                    continue
                if key == 0:
                    raise VideoError(f"{self.name}: reads differently than before; was it changed?") from None
                self._keys.remove(key)
        self._kept.move_to_end(index)
        return self._kept[index].copy()

    def _advance(self, index: int) -> None:
        """Decode up to the picture `index`, keeping the last ones that there is room for."""
        assert self._run is not None
        while self._next <= index:
            number, picture = next(self._run, (-1, None))
            if picture is None or number > index > self._next:
                raise _Lost
            self._next = number + 1
            if number > index - self._room:
                self._kept[number] = upright(picture)
                while len(self._kept) > self._room:
                    self._kept.popitem(last=False)

    def _decode(self, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(number, picture) from the keyframe `key` on, or from one before it; each is what the index says."""
        pictures = self._indexed()
        source = self._from_start() if key == 0 else self._from_time(pictures[key].pts)
        number: int | None = 0 if key == 0 else None
        for picture in source:
            if number is None:  # until a keyframe comes; what comes before may refer to pictures never seen
                found = self._numbers.get(picture.pts)
                if found is None or not picture.key_frame:
                    continue
                if found > key:
                    raise _TooLate
                number = found
            if number >= len(pictures) or _checksum(picture) != pictures[number].checksum:
                raise _Lost
            yield number, picture
            number += 1

    def _from_start(self) -> Iterator[av.VideoFrame]:
        return (picture for _, _, picture in self._video.pictures())

    def _from_time(self, pts: int | None) -> Iterator[av.VideoFrame]:
        with self._video.open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                container.seek(int((pts or 0) - self._earlier / (stream.time_base or 1)), stream=stream)
                yield from container.decode(stream)
            except (av.FFmpegError, OSError):
                raise _Lost from None


def _checksum(picture: av.VideoFrame) -> int:
    """Of the first plane (brightness), without the rows' padding."""
    plane: Any = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, -1)
    return zlib.crc32(rows[:, : min(plane.line_size, plane.width)].tobytes())
