"""A rig with fewer frames: every n-th of each camera, with its time, depth and pose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from segmentation.video import Frame, VideoReader
from twin.rig import Rig, RigCamera


class EveryNth(VideoReader):
    """Every n-th picture of a video, numbered anew."""

    def __init__(self, reader: VideoReader, n: int) -> None:
        self.path, self.width, self.height = reader.path, reader.width, reader.height
        self.fps = reader.fps / n
        self.frame_count = None if reader.frame_count is None else -(-reader.frame_count // n)
        if hasattr(reader, "files"):
            self.files = reader.files[::n]
        self._reader, self._n = reader, n

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._reader:
            if frame.index % self._n == 0:
                yield replace(frame, index=frame.index // self._n)


class Picked(Sequence):
    """Every n-th of a sequence, read when asked for."""

    def __init__(self, items: Sequence[Any], n: int) -> None:
        self._items, self._n = items, n

    def __len__(self) -> int:
        return -(-len(self._items) // self._n)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index * self._n]


def thin_rig(rig: Rig, n: int) -> Rig:
    """The rig with every n-th frame of each camera; frames of different cameras still belong together by time."""
    return rig if n == 1 else replace(rig, cameras=tuple(_thin(camera, n) for camera in rig.cameras))


def stride_for(counts: Sequence[int], most: int) -> int:
    """Every which frame leaves at most `most` of each camera's."""
    return max(1, -(-max(counts, default=0) // most))


def _thin(camera: RigCamera, n: int) -> RigCamera:
    return replace(
        camera,
        open=lambda: EveryNth(camera.open(), n),
        stamps=camera.times[::n] - camera.offset,
        depth=None if camera.depth is None else replace(camera.depth, files=camera.depth.files[::n]),
        Ts_cam_base=None if camera.Ts_cam_base is None else camera.Ts_cam_base[::n],
    )
