"""The overlay video: masks tinted, the fitted robot outlined, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np

from flows.drawing import CONTOUR_COLORS, caption, draw_contours, part_image, tint
from flows.episode import Episode
from segmentation.prompts import Prompt
from urdf import Robot

PROMPT_COLOR = (240, 228, 66)  # boxes and masks
INSIDE_COLOR, OUTSIDE_COLOR = (0, 114, 178), (213, 94, 0)  # clicks


class VideoWriter:
    """Write RGB frames (H,W,3) uint8 as H.264 that every browser plays; sizes are padded to even numbers."""

    def __init__(self, path: str | Path, fps: float, crf: int = 20) -> None:
        self._container: Any = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._rate = Fraction(fps).limit_denominator(1001)
        self._crf = crf
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()

    def write(self, image: np.ndarray) -> None:
        """Append one frame; all frames have one size."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:  # yuv420p halves the colour planes
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.width, self._stream.height = image.shape[1], image.shape[0]
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._container.mux(self._stream.encode(frame))


def overlay_frames(
    episode: Episode, robot: Robot, frames: Iterable[np.ndarray], masks: Sequence[Mapping[str, np.ndarray]]
) -> Iterator[np.ndarray]:
    """Each RGB frame with its masks tinted and the fitted robot outlined."""
    for t, image in enumerate(frames):
        picture = tint(image, masks[t])
        if episode.valid[t]:
            draw_contours(picture, part_image(robot, episode.q[t], episode.camera))
            yield caption(picture, f"{t}  IoU {episode.iou[t]:.2f}")
        else:
            yield caption(picture, f"{t}  no robot found", alarm=True)


def mask_picture(image: np.ndarray, masks: Mapping[str, np.ndarray], prompts: Iterable[Prompt] = ()) -> np.ndarray:
    """The RGB image with its masks tinted, the whole robot outlined beside its parts, and prompts drawn."""
    width = max(1, round(image.shape[1] / 500))
    shown = dict(masks)
    if "robot" in masks and "arm" not in masks:  # what of the robot is no gripper takes the arm's colour
        shown["arm"] = np.where(masks["gripper"] > 0, 0, masks["robot"]) if "gripper" in masks else masks["robot"]
    picture = tint(image, shown)
    if "robot" in masks and len(masks) > 1:
        _outline(picture, masks["robot"], CONTOUR_COLORS["arm"], width)
    for prompt in prompts:
        if prompt.mask is not None:
            _outline(picture, prompt.mask, PROMPT_COLOR, 2 * width)
        if prompt.box is not None:
            x0, y0, x1, y1 = (round(v) for v in prompt.box)
            cv2.rectangle(picture, (x0, y0), (x1, y1), PROMPT_COLOR, 2 * width)
        for (x, y), inside in zip(prompt.points, prompt.labels, strict=True):
            at = round(float(x)), round(float(y))
            cv2.circle(picture, at, 5 * width, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(picture, at, 4 * width, INSIDE_COLOR if inside else OUTSIDE_COLOR, -1, cv2.LINE_AA)
    return picture


def _outline(picture: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    shape = (mask > 0).astype(np.uint8)
    contours, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color, width, cv2.LINE_AA)


def write_mask_overlay(
    path: Path,
    fps: float,
    pictures: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]],
    prompts: Sequence[Prompt] = (),
) -> int:
    """Write a video of (image, masks) with `mask_picture`, streaming; returns the number of frames."""
    count = 0
    with VideoWriter(path, fps) as writer:
        for t, (image, masks) in enumerate(pictures):
            here = [prompt for prompt in prompts if prompt.frame == t]
            writer.write(caption(mask_picture(image, masks, here), f"{t}  prompt" if here else f"{t}"))
            count += 1
    return count


def write_overlay(
    path: Path,
    episode: Episode,
    robot: Robot,
    frames: Iterable[np.ndarray],
    masks: Sequence[Mapping[str, np.ndarray]],
    keep: Iterable[int] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> dict[int, np.ndarray]:
    """Write the overlay video, streaming; returns the overlay pictures of the frames in `keep`."""
    fps = float(episode.source.get("fps") or 30.0)
    wanted, kept = set(keep), {}
    with VideoWriter(path, fps) as writer:
        for t, picture in enumerate(overlay_frames(episode, robot, frames, masks)):
            writer.write(picture)
            if t in wanted:
                kept[t] = picture
            progress(t + 1)
    return kept
