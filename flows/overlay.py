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

from flows.drawing import caption, draw_contours, part_image, tint
from flows.episode import Episode
from urdf import Robot


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
