"""A video of a data set as the source of a run: plain values that any process can open."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flows.datasets import Dataset, SourceEpisode, View, open_dataset
from flows.errors import FlowError
from flows.files import cache_folder, sha256_json, sha256_path
from segmentation.video import VideoFile, VideoReader


@dataclass(frozen=True)
class DatasetView:
    """Which video of a data set.

    Attributes:
        dataset, kind: what `open_dataset` takes; a folder, URL or table, and its format.
        episode, view: its id, and the name of the camera.
        sha256: of the files that its pictures are in, and of which part of them it is.
    """

    dataset: str
    kind: str | None
    episode: str
    view: str
    sha256: str

    def open(self) -> VideoReader:
        """Its frames; raises what `open_dataset` and `segmentation.open_video` raise."""
        return find_view(find_episode(self.dataset, self.kind, self.episode), self.view).open()


def find_episode(dataset: str, kind: str | None, id: str) -> SourceEpisode:
    """An episode of a data set that stays open in this process; looked for again where it came later.

    Raises:
        FlowError, VideoError, MaskError, CameraError: there is none, or it cannot be used.
    """
    try:
        return _open(dataset, kind).episode(id)
    except FlowError:
        _open.cache_clear()
        return _open(dataset, kind).episode(id)


def find_view(episode: SourceEpisode, name: str | None) -> View:
    """A view by its name, or the main one.

    Raises:
        FlowError: there is none of that name.
    """
    try:
        return episode.view(name)
    except KeyError:
        names = ", ".join(view.name for view in episode.views)
        raise FlowError(f"{episode.id}: has no camera {name!r}; it has {names}") from None


def own_file(view: View) -> str | None:
    """The path of the local video that a view is, whole and alone; None where it is a part, pictures or fetched."""
    files = view.files()
    if len(files) != 1 or view.part or files[0].is_relative_to(cache_folder()):
        return None
    return str(files[0].absolute()) if type(view.open()) is VideoFile else None


def view_hash(view: View) -> str:
    """SHA-256 of a view's files and of what of them it is, the same wherever they lie."""
    return sha256_json({"files": [_hash(path) for path in view.files()], "part": view.part})


def as_source(view: DatasetView) -> dict[str, Any]:
    """What an episode states of it, beside path and hash."""
    return {"dataset": view.dataset, "kind": view.kind, "episode": view.episode, "view": view.view}


def from_source(source: dict[str, Any]) -> DatasetView | None:
    """The video of a data set that an episode states it was made from; None where it states a file of its own.

    Raises:
        FlowError: the data set is not where it was, or the video is another one now.
    """
    dataset, kind, episode, view = (source.get(name) for name in ("dataset", "kind", "episode", "view"))
    if not (isinstance(dataset, str) and isinstance(episode, str) and isinstance(view, str)):
        return None
    digest = view_hash(find_view(find_episode(dataset, kind, episode), view))
    if digest != source.get("sha256"):
        raise FlowError(f"{dataset}: its episode {episode} is not the one that was used (another SHA-256)")
    return DatasetView(dataset, kind, episode, view, digest)


@lru_cache(maxsize=4)
def _open(dataset: str, kind: str | None) -> Dataset:
    return open_dataset(dataset, kind)


def _hash(path: Any) -> str:
    stat = path.stat()
    return _hash_once(str(path), stat.st_mtime_ns, stat.st_size) if path.is_file() else sha256_path(path)


@lru_cache(maxsize=1024)
def _hash_once(path: str, mtime_ns: int, size: int) -> str:
    """Many episodes may lie in one file: it is read once."""
    return sha256_path(path)
