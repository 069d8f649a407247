"""Any frame of a video that can only be read from its start: a stretch of a file, pictures fetched one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from segmentation.errors import VideoError
from segmentation.frames import CACHE_BYTES, Frames
from segmentation.video import Frame, VideoReader


class StreamFrames(Frames):
    """The last frames that were read are kept; one further back is reached by reading from the start again."""

    def __init__(self, reader: VideoReader, cache_bytes: int = CACHE_BYTES):
        self.name, self.fps = str(reader.path), reader.fps
        self.width, self.height, self._reader = reader.width, reader.height, reader
        self._room = max(1, cache_bytes // (self.width * self.height * 3))
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._run: Iterator[Frame] | None = None
        self._next = 0
        self._times: list[float] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        times = []
        for frame in self._reader:
            times.append(frame.time_s)
            yield frame.image
        self._times = times

    def __len__(self) -> int:
        return len(self.times)

    @property
    def times(self) -> list[float]:
        if self._times is None:
            self._times = [frame.time_s for frame in self._reader]
        return self._times

    def _get(self, index: int) -> np.ndarray:
        if index not in self._kept:
            if self._run is None or index < self._next:
                self._run, self._next = iter(self._reader), 0
            while self._next <= index:
                frame = next(self._run, None)
                if frame is None:
                    raise VideoError(f"{self.name}: ends before frame {index}; was it changed?")
                if self._next > index - self._room:
                    self._keep(self._next, frame.image)
                self._next += 1
        self._kept.move_to_end(index)
        return self._kept[index].copy()

    def _keep(self, index: int, image: np.ndarray) -> None:
        self._kept[index] = image
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)
