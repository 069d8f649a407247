"""Training data of any kind: what a folder holds, as sources of labelled clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmentation.errors import TrainingError
from segmentation.training.episode_clips import EpisodeSource
from segmentation.training.shards import ShardSet
from segmentation.training.sources import ShardSource, Source
from segmentation.training.text_files import read_names
from segmentation.training.vrs_clips import SPLIT, FolderSource


def open_sources(path: str | Path, names: Path | None = None, log: Callable[[str], None] = print) -> list[Source]:
    """Whatever a folder holds: shards, an episode, a folder of episodes, or VRS or RoboEngine.

    Args:
        names: a text file with one video name a line, for VRS and RoboEngine: others are left out.
        log: is told what is left out, and why.

    Raises:
        TrainingError: none of these, or nothing usable in it. VideoError, MaskError: as `segmentation.vrs`.
    """
    path = Path(path)
    if not path.is_dir():
        raise TrainingError(f"{path}: no such folder of training data")
    if (path / "episode.json").is_file():
        return [EpisodeSource([path], log)]
    if (path / "image").is_dir() or (path / SPLIT / "image").is_dir():
        return [FolderSource(path, read_names(names) if names else None, log)]
    episodes = sorted(p.parent for p in path.glob("*/episode.json"))
    if episodes:
        return [EpisodeSource(episodes, log)]
    shards = ShardSet(path)
    found: list[Source] = [ShardSource(shards, pictures) for pictures in (True, False)]
    if not any(map(len, found)):
        raise TrainingError(
            f"{path}: no training data; expected shards (*.tar), episodes (episode.json), or image/ with mask_gt/ "
            "(VRS) or mask/ (RoboEngine), also in train/"
        )
    return [source for source in found if len(source)]
