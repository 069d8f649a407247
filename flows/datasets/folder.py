"""A folder of videos; cameras beside them where they are known.

clips/a.mp4  a.cam.json  b.mp4  c/00000.png ...     a file or a folder of pictures is an episode
clips/cam.json                                      the camera of all that have none of their own
clips/cameras.json                                  or one object: {"a.mp4": {cam.json}, "c": {cam.json}}
clips/a.txt                                         what the robot is told to do
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from flows.datasets.jsons import read_object
from flows.datasets.location import Location
from flows.datasets.source import Dataset, SourceEpisode, View
from flows.datasets.videos import Pictures, later
from flows.errors import FlowError
from flows.files import sha256_json
from pose.camera import Camera
from segmentation.video import IMAGE_SUFFIXES, VideoFile

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".gif")


class VideoFolder(Dataset):
    """Videos directly in a folder or, where there are none, anywhere under it."""

    kind = "videos"

    def __init__(self, location: Location) -> None:
        self.location = location

    @cached_property
    def _episodes(self) -> dict[str, list[str]]:
        """Files of every episode: a video, or the pictures of a folder."""
        for pattern in ("*", "**/*"):
            names = self.location.find(pattern)
            found = {n: [n] for n in names if PurePosixPath(n).suffix.lower() in VIDEO_SUFFIXES}
            for name in self.location.find("*/*") if pattern == "*" else names:
                path = PurePosixPath(name)
                if path.suffix.lower() in IMAGE_SUFFIXES and path.parent.name:
                    found.setdefault(path.parent.as_posix(), []).append(name)
            if found:
                return found
        raise FlowError(f"{self.location.name}: no videos and no folders of pictures in it")

    def ids(self) -> Iterator[str]:
        yield from self._episodes

    def episode(self, id: str) -> SourceEpisode:
        if id not in self._episodes:
            raise FlowError(f"{self.location.name}: no video {id!r}")
        names, location = self._episodes[id], self.location

        def files() -> list[Path]:
            return [location.local(name) for name in names]

        def open_view() -> VideoFile | Pictures:
            if names == [id]:
                return VideoFile(location.local(id))
            return Pictures(f"{location.name}/{id}", later(location, names))

        stem = PurePosixPath(id).with_suffix("").as_posix() if names == [id] else id
        text = f"{stem}.txt"
        task = location.read(text, 1 << 16).decode("utf-8", "replace").strip() if location.has(text) else None
        return SourceEpisode(id, (View("camera", open_view, files, self._camera(id, stem)),), task or None)

    def stamp(self, id: str) -> str | None:
        names = self._episodes[id]
        stem = PurePosixPath(id).with_suffix("").as_posix() if names == [id] else id
        stamps = [self.location.stamp(name) for name in (*names, f"{stem}.cam.json")]
        return None if None in stamps else sha256_json([stamps, self._shared])[:16]

    @cached_property
    def _shared(self) -> list[str | None]:
        return [self.location.stamp(name) for name in ("cam.json", "cameras.json")]

    def _camera(self, id: str, stem: str) -> Camera | None:
        for name in (f"{stem}.cam.json", "cam.json"):
            if self.location.has(name):
                return Camera.from_dict(read_object(self.location, name), f"{self.location.name}/{name}")
        if self.location.has("cameras.json"):
            entry = read_object(self.location, "cameras.json").get(id)
            if entry is not None:
                return Camera.from_dict(entry, f"{self.location.name}/cameras.json: {id}")
        return None
