"""One episode on its way into a block of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import FlowError, user_errors
from flows.exporting.clips import (
    Prepared,
    export_camera,
    export_size,
    find_video,
    pictures,
    provenance,
    resized,
)
from flows.exporting.features import columns, features
from flows.exporting.layout import check_features
from flows.exporting.lerobot import Block
from flows.exporting.settings import FAILED, KEPT, ExportSettings, Outcome
from flows.exporting.sidecar import MaskFile, coded
from flows.exporting.stats import PictureStats
from flows.recording import class_image
from segmentation import MaskFolder


def add_episode(
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
        labels = None if self.masks is None else [self._coded(self.masks, clip.frame) for clip in prepared.clips]
        for i, clip in enumerate(prepared.clips):
            rows = columns(prepared.robot, clip, self.camera, self.settings.space, self.settings.cam)
            if self.settings.binary_gripper:
                rows["action"] = clip.binary_actions().astype(np.float32)
            index = block.add(rows, prepared.task, *((firsts[i], stats[i]) if stats else (0, None)))
            if labels is not None:
                masks.add(index, labels[i])
            origins[index] = provenance(prepared, i, self.settings.extraction, self.camera)
        return sum(len(clip) for clip in prepared.clips)

    def _mask_folder(self) -> MaskFolder | None:
        folder = self.prepared.folder / "masks"
        if not self.settings.masks or not folder.is_dir():
            return None
        found = MaskFolder(folder)
        found.check(self.prepared.episode.camera.width, self.prepared.episode.camera.height, len(self.prepared.episode))
        return found

    def _coded(self, masks: MaskFolder, frames: np.ndarray) -> list[bytes]:
        return [coded(resized(class_image(masks[int(frame)]), self.size, labels=True)) for frame in frames]
