"""What an export takes from an episode folder: trusted segments, pictures, masks, and what is known of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flows.dataset_view import DatasetView, from_source
from flows.episode import Episode, load_episode
from flows.errors import FlowError
from flows.exporting.action_extraction import ActionClip, ExtractionSettings, extract
from flows.exporting.action_quality import Quality, QualityLimits, judge
from flows.files import sha256_file, sha256_json
from flows.job import robot_of, video_hash
from pose.camera import Camera
from urdf import Robot


@dataclass(frozen=True)
class Prepared:
    """An episode ready to be written.

    Attributes:
        folder: the episode's. digest: SHA-256 of its trajectory and `episode.json`: the same episode, the same digest.
        episode, robot: as loaded.
        clips: its segments. quality: the judgement over them.
        task: what the robot does, in words.
    """

    folder: Path
    digest: str
    episode: Episode
    robot: Robot
    clips: tuple[ActionClip, ...]
    quality: Quality
    task: str


def find_episodes(paths: Sequence[Path]) -> list[Path]:
    """Episode folders among `paths`: each itself, or those directly in it, by name.

    Raises:
        FlowError: a path that is no episode and holds none.
    """
    found: list[Path] = []
    for path in paths:
        if (path / "episode.json").is_file():
            found.append(path)
            continue
        inside = sorted(p.parent for p in path.glob("*/episode.json")) if path.is_dir() else []
        if not inside:
            raise FlowError(f"{path}: no episode folder, and none in it (no episode.json); make one with `urdfit run`")
        found += inside
    return list(dict.fromkeys(found))


def prepare(folder: Path, settings: ExtractionSettings, limits: QualityLimits, task: str | None = None) -> Prepared:
    """Load an episode, extract its actions and judge it.

    Raises:
        FlowError: no episode, a damaged one, or one whose robot is not to be had.
    """
    episode = load_episode(folder)
    digest = sha256_json([sha256_file(folder / "trajectory.parquet"), sha256_file(folder / "episode.json")])
    robot = robot_of(episode.robot)
    clips = tuple(extract(episode, robot, settings))
    said = task if task is not None else episode.settings.get("task")
    return Prepared(folder, digest, episode, robot, clips, judge(episode, clips, limits), str(said or "unlabelled"))


def find_video(prepared: Prepared, videos: Path | None = None) -> Path | DatasetView:
    """The episode's recording: where it was, in the episode folder, or by its name in `videos`; checked by SHA-256.

    Of an episode that was made from a part of a data set it is that part.

    Raises:
        FlowError: it is nowhere, or not the one that the episode was made from.
    """
    source = prepared.episode.source
    view = from_source(source)
    if view is not None:
        return view
    path = Path(str(source.get("path") or "?"))
    places = [videos / path.name] if videos is not None else []
    places += [prepared.folder / path, prepared.folder / path.name]  # an absolute path replaces the folder
    found = next((p for p in places if p.exists()), None)
    if found is None:
        raise FlowError(
            f"{prepared.folder}: its recording {path.name} is not where it was; give its folder as --videos, "
            "or export without pictures (--no-images)"
        )
    digest = source.get("sha256")
    if digest and video_hash(os.path.abspath(found)) != digest:
        raise FlowError(f"{found}: not the recording that {prepared.folder} was made from (another SHA-256)")
    return found


def pictures(
    video: Path | DatasetView, count: int, wanted: Sequence[int], size: tuple[int, int] | None
) -> Iterator[np.ndarray]:
    """The frames `wanted` (not decreasing, repeats allowed) of a recording, (H,W,3) uint8 RGB, read in one pass.

    Args:
        count: frames that the episode has.
        size: (width, height) to resize to.

    Raises:
        VideoError: the recording cannot be read.
        FlowError: it has fewer frames than asked for.
    """
    from segmentation import open_video

    at = 0
    for frame in video.open() if isinstance(video, DatasetView) else open_video(video):
        while at < len(wanted) and wanted[at] == frame.index:
            yield resized(frame.image, size)
            at += 1
        if at == len(wanted):
            return
    raise FlowError(f"{video}: ends before frame {wanted[at]} of the {count} that its episode has")


def export_size(width: int, height: int, asked: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of exported pictures: what is asked for, else the recording's own; even, as video needs it."""
    w, h = asked or (width, height)
    return w - w % 2, h - h % 2


def resized(image: np.ndarray, size: tuple[int, int] | None, labels: bool = False) -> np.ndarray:
    """The picture (or label image) at (width, height); one row or column too many is cut off, not scaled."""
    if size is None:
        return image
    width, height = size
    if _cut_only((image.shape[1], image.shape[0]), size):
        return image[:height, :width]
    how = cv2.INTER_NEAREST if labels else (cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR)
    return cv2.resize(image, size, interpolation=how)


def export_camera(camera: Camera, size: tuple[int, int]) -> Camera:
    """The camera of pictures that `resized` brought to (width, height)."""
    if _cut_only((camera.width, camera.height), size):
        return replace(camera, width=size[0], height=size[1])
    return camera.scaled(size[0] / camera.width, size[1] / camera.height)


def _cut_only(given: tuple[int, int], size: tuple[int, int]) -> bool:
    return all(0 <= a - b <= 1 for a, b in zip(given, size))


def provenance(prepared: Prepared, index: int, settings: ExtractionSettings, camera: Camera) -> dict[str, Any]:
    """What a data set should know of the segment `index`, for its sidecar."""
    episode = prepared.episode
    return {
        "segment": index,
        "digest": prepared.digest,
        "source": {"name": Path(str(episode.source.get("path", ""))).name, "sha256": episode.source.get("sha256")},
        "robot": episode.robot,
        "joint_names": list(episode.joint_names),
        "camera": camera.to_dict(),
        "smoothing": settings.smoothing,
        "quality": prepared.quality.to_dict(),
        "warnings": list(episode.warnings),
        "versions": episode.versions,
    }
