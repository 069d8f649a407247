"""Episodes one after the other in a single AV1 file, as LeRobot v3.0 keeps its videos."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from flows.errors import FlowError

# Every second frame is a key frame, so that training can read any frame quickly; both as lerobot encodes.
OPTIONS = {"g": "2", "crf": "30", "preset": "10", "svtav1-params": "lp=2"}


class EpisodeVideo:
    """Writes RGB pictures (H,W,3) uint8 of one size; `frames` counts them, picture i is shown at i / fps seconds."""

    def __init__(self, path: Path, fps: int, size: tuple[int, int]) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # the encoder would print its settings; errors only
        self.path, self.fps, self.frames = path, fps, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container: Any = av.open(str(path), "w")
        try:
            self._stream: Any = self._container.add_stream("libsvtav1", rate=fps)
        except (av.FFmpegError, ValueError) as error:
            raise FlowError(f"this PyAV has no AV1 encoder libsvtav1 ({error}); pip install --upgrade av") from None
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = Fraction(1, fps)
        self._stream.options = dict(OPTIONS)

    def __enter__(self) -> EpisodeVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.frames:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()

    def write(self, picture: np.ndarray) -> None:
        """Append one picture."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    @property
    def megabytes(self) -> float:
        """Size of the file so far; the encoder still holds some pictures."""
        return self.path.stat().st_size / 2**20 if self.path.exists() else 0.0
