"""`urdfit export`: episodes into a data set, one after the other; the good ones kept, the others named with reasons."""

from __future__ import annotations

import glob
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.errors import FlowError, user_errors
from flows.exporting.clips import (
    Prepared,
    export_size,
    find_episodes,
    prepare,
)
from flows.exporting.features import features
from flows.exporting.layout import link_data_set, new_info, read_info
from flows.exporting.lerobot import Block
from flows.exporting.rows import add_episode
from flows.exporting.settings import DROPPED, FAILED, KNOWN, ExportSettings, Outcome
from flows.exporting.sidecar import MASKS_PATH, ORIGINS_PATH, MaskFile, known_digests, write_origins
from flows.files import atomic_folder, cache_folder, make_folder
from flows.progress import report
from urdf.locks import locked


def export_lerobot(paths: Sequence[Path], out: Path, settings: ExportSettings) -> list[Outcome]:
    """Write episodes as a LeRobotDataset v3.0; returns what became of each, in order.

    An episode that cannot be read does not stop the others.

    Raises:
        UsageError, FlowError: settings that contradict each other, no episodes, or an `out` that cannot be used.
    """
    folders = find_episodes(paths)
    with _alone(out):
        info = read_info(out)
        if out.is_file() or (info is None and out.is_dir() and any(out.iterdir())):
            raise FlowError(f"{out}: holds something that is no LeRobot data set; give another folder")
        if info is not None and not settings.append:
            raise FlowError(f"{out}: there is a data set already; add to it with --append, or give another folder")
        known = known_digests(out) if info is not None else set()
        outcomes: list[Outcome] = []
        waiting = _Waiting(folders, settings, known, outcomes, info)
        while waiting.first is not None:
            _write_block(waiting, out, settings)
    order = {folder: i for i, folder in enumerate(folders)}
    return sorted(outcomes, key=lambda outcome: order[outcome.folder])


class _Waiting:
    """The episodes still to be written, loaded one by one; the first one there says what kind of data set it is."""

    def __init__(
        self,
        folders: list[Path],
        settings: ExportSettings,
        known: set[str],
        outcomes: list[Outcome],
        info: dict[str, Any] | None,
    ) -> None:
        self.info, self.outcomes, self.total = info, outcomes, len(folders)
        self._settings = settings
        self._stream = _prepared(folders, settings, known, outcomes, None if info is None else int(info["fps"]))
        self.first = next(self._stream, None)

    def kind(self) -> dict[str, Any]:
        """`info.json` of the data set, or of the one that the first episode begins."""
        if self.info is not None:
            return self.info
        assert self.first is not None
        first, settings = self.first, self._settings
        size = export_size(first.episode.camera.width, first.episode.camera.height, settings.size)
        fps = first.clips[0].fps
        made = features(first.robot, settings.space, settings.cam, size if settings.images else None, fps)
        return new_info(first.episode.robot, fps, made)

    def done(self, outcome: Outcome) -> None:
        """The first one is dealt with."""
        self.outcomes.append(outcome)
        report("export", len(self.outcomes), self.total)
        self.first = next(self._stream, None)


def _write_block(waiting: _Waiting, out: Path, settings: ExportSettings) -> None:
    """Write the next episodes as a block; none is written where the first of a new data set fails."""
    block: Block | None = None
    with atomic_folder(out, leave=lambda: block is None or block.episodes == 0) as staging:
        if out.exists():
            link_data_set(out, staging)
        block = Block(staging, waiting.kind(), settings.cam if settings.images else None)
        masks, origins = MaskFile(block.path(MASKS_PATH)), dict[int, dict[str, Any]]()
        while waiting.first is not None and not block.full:
            waiting.done(add_episode(block, masks, origins, waiting.first, settings, out))
            if waiting.info is None and block.episodes == 0:
                break
        masks.close()
        block.close()
        if origins:
            write_origins(block.path(ORIGINS_PATH), origins)
    if block.episodes:
        waiting.info = block.info


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One export at a time into a data set, among the processes of this user; what killed ones left is removed."""
    folder = make_folder(cache_folder() / "locks")
    name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:16]
    with locked(folder / f"export-{name}", f"{out}: waiting for another export into it") as held:
        for left in out.absolute().parent.glob(f".{glob.escape(out.name)}.*.tmp") if held else ():
            shutil.rmtree(left, ignore_errors=True)
        yield


def _prepared(
    folders: list[Path], settings: ExportSettings, known: set[str], outcomes: list[Outcome], fps: int | None
) -> Iterator[Prepared]:
    """The episodes to write, loaded one by one; all others are added to `outcomes`. The first one sets the rate."""
    extraction = settings.extraction
    if fps is not None and extraction.fps not in (None, fps):
        raise FlowError(f"--fps {extraction.fps}: the data set has {fps} frames a second; leave --fps out")
    for folder in folders:
        try:
            prepared = prepare(folder, replace(extraction, fps=fps or extraction.fps), settings.limits, settings.task)
        except user_errors() as error:
            outcomes.append(Outcome(folder, FAILED, str(error)))
            continue
        quality = prepared.quality
        if prepared.digest in known:
            outcomes.append(Outcome(folder, KNOWN, score=quality.score))
        elif not prepared.clips or not (quality.keep or settings.keep_all):
            outcomes.append(Outcome(folder, DROPPED, "; ".join(quality.reasons), quality.score))
        else:
            known.add(prepared.digest)
            fps = fps or prepared.clips[0].fps
            yield prepared
        report("export", len(outcomes), len(folders))
