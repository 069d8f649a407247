"""The episode that is augmented, with its video and masks, and what one look through the video tells about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flows.augmentation.light import Lighting, estimate_lighting
from flows.augmentation.matte import disc, linear
from flows.augmentation.plate import Plate, background_plate
from flows.drawing import part_image
from flows.episode import Episode, load_episode
from flows.errors import FlowError
from flows.files import sha256_file
from flows.job import open_source, robot_of, video_hash
from flows.progress import report
from segmentation.masks import MaskFolder
from urdf import Robot

PLATE_BYTES = 200e6  # of pictures held for the background plate
PLATE_FRAMES = 31
LIGHT_FRAMES = 4
VIDEO = "video.mp4"  # of an augmented episode, beside its episode.json


@dataclass(frozen=True)
class Source:
    """An episode folder whose video and masks are at hand; both are read frame by frame.

    Attributes:
        fps: of the video.
        sha256: of the trajectory.
        keep: masks of things that stay in the picture, such as a held object.
    """

    folder: Path
    episode: Episode
    robot: Robot
    video: Path
    masks: MaskFolder
    fps: float
    sha256: str
    keep: MaskFolder | None = None

    def frames(self) -> Iterator[np.ndarray]:
        """The video's frames (H,W,3) uint8 RGB.

        Raises:
            FlowError: the video has another number of frames than the episode.
        """
        count = 0
        for frame in open_source(self.video, self.episode.settings.get("fps")):
            count += 1
            if count <= len(self.episode):
                yield frame.image
        if count != len(self.episode):
            raise FlowError(f"{self.video}: {count} frames, but the episode has {len(self.episode)}")

    def robot_mask(self, t: int) -> np.ndarray:
        """(H,W) bool of the whole robot, whichever parts there are masks of."""
        return np.any([mask > 0 for mask in self.masks[t].values()], axis=0)

    def kept(self, t: int) -> np.ndarray | None:
        """(H,W) bool of what stays in the picture, None when nothing was named."""
        return None if self.keep is None else np.any([m > 0 for m in self.keep[t].values()], axis=0)


def open_episode(folder: str | Path, video: str | Path | None = None, keep: str | Path | None = None) -> Source:
    """Check that an episode can be augmented.

    Args:
        video: where the video is now; None = where the episode says, or video.mp4 in its folder.
        keep: folder of masks, one PNG a frame, of things that stay.

    Raises:
        FlowError, MaskError, VideoError, RobotError: what is missing or does not belong to the episode.
    """
    folder = Path(folder)
    episode = load_episode(folder)
    if not isinstance(episode.settings, dict) or not isinstance(episode.source, dict):
        raise FlowError(f"{folder}/episode.json: settings and source must be JSON objects; the episode is damaged")
    fps = episode.settings.get("fps")
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < 1e5):
        raise FlowError(f"{folder}/episode.json: settings.fps must be a positive number or null, got {str(fps)[:40]!r}")
    places = [Path(video)] if video is not None else [Path(str(episode.source.get("path", ""))), folder / VIDEO]
    found = next((place for place in places if str(place) != "." and place.exists()), None)
    if found is None:
        raise FlowError(f"{folder}: its video {places[0]} is not there; say where it is now with --video")
    if video_hash(str(found)) != episode.source.get("sha256"):
        raise FlowError(f"{found}: not the video that the episode {folder} was made from, or changed since")
    masks = MaskFolder(folder / "masks")
    reader = open_source(found, fps)
    size = reader.width, reader.height
    if (episode.camera.width, episode.camera.height) != size:
        raise FlowError(f"{folder}: its camera is for another picture size than the video's {size[0]}x{size[1]}")
    if episode.camera.T_cam_base is None:
        raise FlowError(f"{folder}: the episode's camera has no T_cam_base; make the episode again with `urdfit run`")
    masks.check(*size, len(episode))
    things = None if keep is None else MaskFolder(keep)
    if things is not None:
        things.check(*size, len(episode))
    robot = robot_of(episode.robot)
    if robot.joint_names != episode.joint_names:
        raise FlowError(f"{folder}: its joints are not those of {robot.name}; the robot's description has changed")
    return Source(folder, episode, robot, found, masks, reader.fps, sha256_file(folder / "trajectory.parquet"), things)


@dataclass(frozen=True)
class Survey:
    """What one look through the video tells.

    Attributes:
        plate: the scene without the robot.
        lighting: light and camera as the robot shows them.
        backdrop: (3,) mean linear colour of what is not robot.
    """

    plate: Plate
    lighting: Lighting
    backdrop: np.ndarray


def survey(source: Source, light: bool = True) -> Survey:
    """Look through the video once: background plate and, where something will be drawn, light, noise and blur."""
    episode, camera = source.episode, source.episode.camera
    count = len(episode)
    room = int(PLATE_BYTES / (camera.width * camera.height * 4))
    wanted = np.unique(np.linspace(0, count - 1, min(count, PLATE_FRAMES, max(room, 3))).round().astype(int))
    good = np.flatnonzero(episode.valid & np.isfinite(episode.q).all(1) & light)
    lit = good[np.linspace(0, len(good) - 1, min(len(good), LIGHT_FRAMES)).round().astype(int)] if len(good) else good
    pictures, hidden, samples = [], [], []
    for t, image in enumerate(source.frames()):
        if t in wanted:
            pictures.append(image)
            hidden.append(hidden_by_robot(source, t))
        if t in lit:
            samples.append((image, source.robot_mask(t), episode.q[t]))
        report("look", t + 1, count)
    plate = background_plate(pictures, hidden)
    outside = ~np.all(hidden, axis=0)
    backdrop = linear(plate.image[outside]).mean(0) if outside.any() else np.full(3, 0.2)
    return Survey(plate, estimate_lighting(source.robot, camera, samples, plate), backdrop)


def hidden_by_robot(source: Source, t: int) -> np.ndarray:
    """(H,W) bool where the old robot, its edge or a thing that stays may be seen: mask and fit together, widened."""
    episode = source.episode
    hidden = source.robot_mask(t)
    if episode.valid[t]:
        hidden = hidden | (part_image(source.robot, episode.q[t], episode.camera) >= 0)
    kept = source.kept(t)
    if kept is not None:
        hidden = hidden | kept
    reach = max(2, round(episode.camera.width / 110))
    return cv2.dilate(hidden.astype(np.uint8), disc(reach)) > 0
