"""Videos that are no file of their own: a stretch of one, or pictures in a list; and timestamps from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import av
import numpy as np

from flows.datasets.location import Location
from segmentation.errors import VideoError
from segmentation.pictures import read_picture
from segmentation.video import Frame, VideoFile, VideoReader, upright


def later(location: Location, names: Sequence[str]) -> list[Callable[[], Path]]:
    """What fetches each of these files when it is called."""
    return [partial(location.local, name) for name in names]


class Stretch(VideoReader):
    """The frames of a video file from `start` to before `end`, in seconds of the file's own timestamps."""

    def __init__(self, path: Path, start: float, end: float, fps: float) -> None:
        self._video = VideoFile(path)
        self.path, self.fps = path, fps
        self.width, self.height = self._video.width, self._video.height
        self.start, self.end = start, end
        self.frame_count = round((end - start) * fps)

    def __iter__(self) -> Iterator[Frame]:
        half = 0.5 / self.fps
        index = 0
        with self._video.open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                container.seek(int(max(self.start - half, 0.0) / float(stream.time_base or 1)), stream=stream)
                for picture in container.decode(stream):
                    time = float(picture.time or 0.0)
                    if time >= self.end - half:
                        break
                    if time >= self.start - half:
                        yield Frame(index, max(time - self.start, 0.0), upright(picture))
                        index += 1
            except (av.FFmpegError, OSError) as error:
                raise VideoError(f"{self.path}: damaged at frame {index} of an episode ({error})") from None
        if index != self.frame_count:
            raise VideoError(
                f"{self.path}: {index} frames from {self.start:.3f} to {self.end:.3f} s, {self.frame_count} expected"
            )


class Pictures(VideoReader):
    """Pictures in the order of a list, all of one size; each is fetched when its turn comes."""

    def __init__(
        self,
        name: str,
        files: Sequence[Callable[[], Path]],
        fps: float | None = None,
        times: Sequence[float] | None = None,
    ) -> None:
        if not files:
            raise VideoError(f"{name}: no pictures")
        self.path = Path(name)
        self._files = files
        self.frame_count = len(files)
        self.times = [i / (fps or 30.0) for i in range(len(files))] if times is None else list(times)
        span = self.times[-1] - self.times[0]
        self.fps = fps or ((len(files) - 1) / span if span > 0 else 30.0)
        self.height, self.width = read_picture(files[0]()).shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            image = read_picture(path := file())
            if image.shape[:2] != (self.height, self.width):
                raise VideoError(
                    f"{path}: {image.shape[1]}x{image.shape[0]} pixels, the first has {self.width}x{self.height}"
                )
            yield Frame(index, self.times[index] - self.times[0], image)


class Timed(VideoReader):
    """A video file whose frames have the timestamps of a log, in seconds; its own where their numbers differ."""

    def __init__(self, path: Path, times: np.ndarray) -> None:
        self._video = VideoFile(path)
        self.path, self.width, self.height = path, self._video.width, self._video.height
        self.frame_count = self._video.frame_count
        self.times = np.asarray(times, float) - float(times[0]) if len(times) else np.zeros(0)
        rising = len(self.times) > 1 and bool((np.diff(self.times) > 0).all())
        self.uses_log = rising and self.frame_count == len(self.times)
        self.fps = (len(self.times) - 1) / float(self.times[-1]) if self.uses_log else self._video.fps

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._video:
            yield Frame(frame.index, float(self.times[frame.index]), frame.image) if self.uses_log else frame
