"""VRS and RoboEngine folders (`image/` beside `mask_gt/` or `mask/`) as videos; see `segmentation.vrs`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from flows.datasets.location import LocalFolder, Location
from flows.datasets.source import Dataset, SourceEpisode, View
from flows.datasets.videos import Pictures
from flows.errors import FlowError
from segmentation.vrs import LabelledVideos


class VrsFolder(Dataset):
    """The videos of one split."""

    kind = "vrs"

    def __init__(self, location: Location, split: str = "test") -> None:
        self.location, self._split = location, split

    @cached_property
    def _videos(self) -> LabelledVideos:
        if not isinstance(self.location, LocalFolder):
            raise FlowError(f"{self.location.name}: VRS folders are read from this machine; copy it here first")
        return LabelledVideos(self.location.path, self._split)

    def ids(self) -> Iterator[str]:
        yield from self._videos.names

    def episode(self, id: str) -> SourceEpisode:
        images = self._videos.open(id).images

        def files() -> list[Path]:
            return list(images)

        view = View("camera", lambda: Pictures(id, [partial(Path, p) for p in images]), files)
        return SourceEpisode(id, (view,))
