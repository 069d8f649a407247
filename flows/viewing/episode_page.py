"""An episode as a page: the robot moving, the camera and its pictures, masks, joints with their uncertainty."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from flows.drawing import draw_contours, part_image, tint
from flows.episode import Episode, load_episode
from flows.errors import FlowError
from flows.job import robot_of
from flows.viewing.parts import Picture, RobotModel, Timeline, add_camera, columns_for, fitting
from flows.viewing.plots import EpisodePlots
from segmentation.errors import MaskError, VideoError
from segmentation.frames import Frames, open_frames
from segmentation.masks import MaskFolder

EMPTY = 40  # grey of a picture that cannot be shown


class EpisodePage:
    """Fills a viser server with an episode folder."""

    def __init__(self, server: Any, folder: Path):
        """Raises FlowError or RobotError where the episode or its robot cannot be read."""
        self.episode = load_episode(folder)
        if not len(self.episode) or self.episode.camera.T_cam_base is None:
            raise FlowError(f"{folder}: no frames, or a camera without a pose: there is nothing to show")
        self.robot = robot_of(self.episode.robot)
        self._q = self.episode.q[:, columns_for(self.robot, self.episode.joint_names, "the episode")]
        self._video, notes = _pictures(folder, self.episode)
        self._masks: MaskFolder | None = None
        with suppress(MaskError):
            self._masks = MaskFolder(folder / "masks")
        self._index = 0
        server.gui.add_markdown(_heading(folder, self.episode, notes))
        self._show_masks = server.gui.add_checkbox("masks", True, disabled=self._masks is None)
        self._show_fit = server.gui.add_checkbox("outline of the fit", True)
        for box in (self._show_masks, self._show_fit):
            box.on_update(lambda _: self._refresh())
        first = fitting(self._picture(0))
        self._image = Picture(server, first)
        self._frustum = add_camera(server, "/camera", self.episode.camera, first)
        self._model = RobotModel(server, self.robot)
        self._model.pose(self._q[0])
        path = self.episode.ee[np.isfinite(self.episode.ee).all(1), :3]
        if len(path) > 1:
            pieces = np.stack([path[:-1], path[1:]], 1)
            server.scene.add_line_segments("/end_effector", pieces, np.array([0, 158, 115], np.uint8), line_width=2.0)
        slides = self.robot.tree.q_index[self.robot.tree.kind == 2]
        sliding = np.isin([self.robot.joint_names.index(name) for name in self.episode.joint_names], slides)
        self.timeline = Timeline(server, self.episode.time_s, self._show)
        self._plots = EpisodePlots(server, self.episode, sliding)

    def _show(self, index: int) -> None:
        self._index = index
        self._model.pose(self._q[index])
        self._plots.mark(index)
        self._refresh()

    def _refresh(self) -> None:
        picture = fitting(self._picture(self._index))
        self._image.show(picture)
        self._frustum.image = picture

    def _blank(self) -> np.ndarray:
        camera = self.episode.camera
        return np.full((camera.height, camera.width, 3), EMPTY, np.uint8)

    def _picture(self, index: int) -> np.ndarray:
        image = self._blank()
        if self._video is not None and index < len(self._video):
            with suppress(VideoError):
                image = self._video[index]
        if self._show_masks.value and self._masks is not None and index < len(self._masks):
            with suppress(MaskError, ValueError, IndexError):  # masks of another size cannot be laid over
                image = tint(image, self._masks[index])
        if self._show_fit.value and np.isfinite(self._q[index]).all() and image.shape == self._blank().shape:
            draw_contours(image, part_image(self.robot, self._q[index], self.episode.camera))
        return image


def _pictures(folder: Path, episode: Episode) -> tuple[Frames | None, list[str]]:
    """The episode's video where it still is, and what to say where it is not."""
    source = str(episode.source.get("path", ""))
    path = Path(source) if Path(source).is_absolute() else folder / source
    if not source or not (path.is_file() or path.is_dir()):
        return None, ["The video is no longer where it was: pictures are grey."]
    try:
        return open_frames(path), []
    except (VideoError, OSError) as error:
        return None, [f"The video cannot be read ({type(error).__name__}): pictures are grey."]


def _heading(folder: Path, episode: Episode, notes: list[str]) -> str:
    quality = episode.quality
    lines = [
        f"**{_plain(folder.resolve().name)}**: {_plain(episode.robot)}, {quality['frames']} frames, "
        f"{100 * quality['valid_fraction']:.0f} % valid, IoU {quality['mean_iou']:.3f}",
        *(f"- {_plain(text)}" for text in (*notes, *episode.warnings)),
    ]
    return "\n\n".join(lines[:1]) + "\n\n" + "\n".join(lines[1:])


def _plain(text: str) -> str:
    """Text from a file, without the signs that markdown or HTML would act on."""
    return "".join(c if c not in "<>[]()*_`#&!\\|" else " " if c in "\\`" else f"&#{ord(c)};" for c in text)
