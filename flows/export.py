"""`urdfit export`: episodes into a data set, one after the other; the good ones kept, the others named with reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.action_extraction import ExtractionSettings
from flows.action_quality import QualityLimits
from flows.errors import FlowError, UsageError, user_errors
from flows.export_clips import (
    Prepared,
    export_camera,
    export_size,
    find_episodes,
    find_video,
    pictures,
    prepare,
    provenance,
    resized,
)
from flows.export_features import SPACES, columns, features
from flows.export_lerobot import Block, check_features, link_data_set, new_info, read_info
from flows.export_sidecar import MASKS_PATH, ORIGINS_PATH, MaskFile, coded, known_digests, write_origins
from flows.export_stats import PictureStats
from flows.files import atomic_folder, cache_folder, make_folder
from flows.progress import report
from flows.recording import class_image
from urdf.locks import locked

KEPT, DROPPED, KNOWN, FAILED = "kept", "dropped", "already there", "failed"


@dataclass(frozen=True)
class ExportSettings:
    """What to export and how.

    Attributes:
        space: joint or ee, see `flows.export_features`.
        binary_gripper: in ee actions the gripper's state, 0 or 1, in the place of its opening.
        cam: name of the camera. size: (width, height) of pictures, None = the first recording's.
        images, masks: whether to write them.
        task: what the robot does, in words; None takes the episode's own.
        keep_all: also what the judgement drops, as long as it has segments.
        append: to a data set that is there.
        videos: folder where recordings lie that are no longer where they were.
    """

    space: str = "joint"
    binary_gripper: bool = False
    cam: str = "camera"
    size: tuple[int, int] | None = None
    images: bool = True
    masks: bool = True
    task: str | None = None
    keep_all: bool = False
    append: bool = False
    videos: Path | None = None
    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    limits: QualityLimits = field(default_factory=QualityLimits)

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UsageError(f"--space {self.space}: expected {' or '.join(SPACES)}")
        if self.binary_gripper and self.space != "ee":
            raise UsageError("--binary-gripper: only for --space ee; joint actions are targets")
        if not self.cam.isidentifier():
            raise UsageError(f"--cam {self.cam!r}: expected a name of letters, digits and underscores")


@dataclass(frozen=True)
class Outcome:
    """What became of an episode: kept, dropped, already there or failed, with the reason; its score and rows."""

    folder: Path
    state: str
    reason: str = ""
    score: float = float("nan")
    rows: int = 0


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
            waiting.done(_write(block, masks, origins, waiting.first, settings, out))
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
    """One export at a time into a data set, among the processes of this user."""
    folder = make_folder(cache_folder() / "locks")
    name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:16]
    with locked(folder / f"export-{name}", f"{out}: waiting for another export into it"):
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


def _write(
    block: Block,
    masks: MaskFile,
    origins: dict[int, dict[str, Any]],
    prepared: Prepared,
    settings: ExportSettings,
    out: Path,
) -> Outcome:
    """Add an episode's segments to the block; a failure leaves it as if the episode had not been."""
    try:
        made = _Rows(block, prepared, settings, out)
        count = made.write(masks, origins)
    except user_errors() as error:
        return Outcome(prepared.folder, FAILED, str(error), prepared.quality.score)
    notes = "; ".join((*prepared.quality.reasons, *prepared.quality.notes))
    return Outcome(prepared.folder, KEPT, notes, prepared.quality.score, count)


class _Rows:
    """An episode on its way into a block; everything that can be wrong with it is found before it is made."""

    def __init__(self, block: Block, prepared: Prepared, settings: ExportSettings, out: Path) -> None:
        self.block, self.prepared, self.settings = block, prepared, settings
        episode = prepared.episode
        key = f"observation.images.{settings.cam}"
        kept = block.info["features"].get(key)
        own = (episode.camera.width, episode.camera.height)
        self.size = export_size(*own, settings.size if kept is None else (kept["shape"][1], kept["shape"][0]))
        if settings.size is None and kept is not None and self.size != export_size(*own, None):
            raise FlowError(
                f"{prepared.folder}: pictures of {own[0]}x{own[1]}, the data set has {self.size[0]}x{self.size[1]}; "
                f"give --size {self.size[0]}x{self.size[1]} to resize"
            )
        check_features(
            out,
            block.info,
            features(prepared.robot, settings.space, settings.cam, self.size if settings.images else None, block.fps),
        )
        self.camera = export_camera(episode.camera, self.size)
        self.video = find_video(prepared, settings.videos) if settings.images else None
        self.masks = self._mask_folder()

    def write(self, masks: MaskFile, origins: dict[int, dict[str, Any]]) -> int:
        """Pictures first, as they can fail; then rows, masks and origin. Returns the number of rows."""
        prepared, block = self.prepared, self.block
        firsts, stats = [], []
        if self.video is not None:
            wanted = [int(i) for clip in prepared.clips for i in clip.frame]
            stream = pictures(self.video, len(prepared.episode), wanted, self.size)
            video = block.video(self.size)
            for clip in prepared.clips:
                firsts.append(video.frames)
                looked = PictureStats(len(clip))
                for _ in range(len(clip)):
                    picture = next(stream)
                    video.write(picture)
                    looked.add(picture)
                stats.append(looked.result())
        labels = [list(self._coded(clip.frame)) for clip in prepared.clips] if self.masks is not None else None
        for i, clip in enumerate(prepared.clips):
            rows = columns(prepared.robot, clip, self.camera, self.settings.space, self.settings.cam)
            if self.settings.binary_gripper:
                rows["action"] = clip.binary_actions().astype(np.float32)
            index = block.add(rows, prepared.task, *((firsts[i], stats[i]) if stats else (0, None)))
            if labels is not None:
                masks.add(index, labels[i])
            origins[index] = provenance(prepared, i, self.settings.extraction, self.camera)
        return sum(len(clip) for clip in prepared.clips)

    def _mask_folder(self):  # type: ignore[no-untyped-def]
        folder = self.prepared.folder / "masks"
        if not self.settings.masks or not folder.is_dir():
            return None
        from segmentation import MaskFolder

        found = MaskFolder(folder)
        found.check(self.prepared.episode.camera.width, self.prepared.episode.camera.height, len(self.prepared.episode))
        return found

    def _coded(self, frames: np.ndarray) -> Iterator[bytes]:
        for frame in frames:
            yield coded(resized(class_image(self.masks[int(frame)]), self.size, labels=True))
