"""Masks as the fit wants them: one array of channels a frame, undistorted, at a working size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from pose.camera import Camera
from pose.errors import FitError
from pose.evenly import evenly
from pose.mask_code import SEAM, mask_code
from pose.shelf import Shelf
from pose.solver import Level, View
from urdf import Robot

THUMBNAIL, LOOKED_AT = 160, 64  # pixels, frames in which the robot is looked for
AROUND = 0.4  # of the robot's size, left on every side of it
SMALLEST = 160  # pixels that a part has at least
SMALL = 0.6  # of the picture: a larger part is not worth it
MIN_SHARE = 5e-4  # of the image: a smaller mask is no robot


class Targets:
    """Random access to the masks of a clip, one frame in memory at a time.

    Attributes:
        channels: (C,G) float32, what each label of links counts in each channel, times the channel's weight; channel 0
            is the robot when it can be. labels: (L,) label of each link, for `make_model`; None: 0 arm, 1 gripper.
        names: of the masks. width, height: of what is looked at, `corner` (x, y) in the masks: the whole, or a part.
        zoom: how many times larger the masks, of size `full` (H,W), are.
    """

    def __init__(
        self, masks: Sequence[Mapping[str, np.ndarray]], camera: Camera | None, robot: Robot | None = None,
        close: bool = False, keep: bool = False,
    ):  # fmt: skip
        """Masks by part and, with the robot, by link.

        `close`: where the robot is small, only the part of the pictures that shows it, so that its pixels count.
        `keep`: masks that were read stay, packed, as far as there is room; for masks that never change.

        Raises:
            FitError: there is no mask, a part is unknown, or the size differs from the camera's.
        """
        if len(masks) == 0:
            raise FitError("the clip has no masks: a fit needs one mask a frame")
        first = masks[0]
        self._code = mask_code(first, robot)
        self.channels, self.labels = self._code.channels, self._code.labels
        self.names = sorted(first)
        self._masks = masks
        self.height, self.width = next(iter(first.values())).shape[:2]
        if camera is not None and (camera.width, camera.height) != (self.width, self.height):
            raise FitError(
                f"masks are {self.width}x{self.height} pixels but the camera is for {camera.width}x{camera.height}; "
                "give the camera of this video or rescale its K"
            )
        self.corner, self.zoom = (0, 0), 1.0
        self.full = self.height, self.width
        self._maps = None
        self._shelf = Shelf() if keep else None
        if camera is not None and any(camera.distortion):
            K = np.asarray(camera.K, float)
            self._maps = cv2.initUndistortRectifyMap(
                K, np.array(camera.distortion), np.eye(3), K, (self.width, self.height), cv2.CV_32FC1
            )

        if close and self._maps is None:
            self._look_closer()

    def _look_closer(self) -> None:
        part = close_up(self._masks, self.full)
        if part is not None:
            x0, y0, self.width, self.height = part
            self.corner = x0, y0
            self.zoom = max(self.full) / max(self.width, self.height)

    def level(self, level: Level) -> Level:
        """A level for this part of the picture; it has no more pixels than the masks."""
        if self.zoom == 1:
            return level
        return replace(level, width=min(level.width, max(self.width, self.height)), zoom=self.zoom)

    def inner(self, camera: Camera) -> Camera:
        """The camera of the masks as that of the part that is looked at."""
        return _moved(camera, self.width, self.height, self.corner)

    def outer(self, camera: Camera) -> Camera:
        """The camera of the part as that of the masks."""
        return _moved(camera, self.full[1], self.full[0], (-self.corner[0], -self.corner[1]))

    def __len__(self) -> int:
        return len(self._masks)

    def size(self, width: int) -> tuple[int, int]:
        """(width, height) of the working image whose longest side is `width` pixels, or the masks' own if smaller."""
        factor = min(1.0, width / max(self.width, self.height))
        return max(8, round(self.width * factor)), max(8, round(self.height * factor))

    def read(self, frame: int, width: int) -> np.ndarray:
        """Masks (C,h,w) float32 of a frame, from 0 to the channel's weight.

        Raises:
            FitError: a frame's mask is missing or of another size.
        """
        if self._shelf is None:
            return self._read(frame, width)
        kept = self._shelf.get((frame, width))
        if kept is None:
            kept = self._shelf.put((frame, width), self._read(frame, width))
        return kept

    def _read(self, frame: int, width: int) -> np.ndarray:
        masks, code = self._masks[frame], self._code
        read = {}
        for name in ["robot"] * code.robot + [n for n in code.whole if code.levels.get(n) or not code.robot]:
            if name not in masks:
                raise FitError(f"frame {frame} has no {name} mask although frame 0 has one")
            read[name] = self._plane(masks, name, frame)
        planes = [read["robot"] if code.robot else np.maximum.reduce(list(read.values()))]
        if code.levels:
            told = sum(np.float32(level) * read[name] for name, level in code.levels.items() if level)
            planes.append(np.float32(SEAM) * np.minimum(told, 1.0))
        if self._maps is not None:
            planes = [cv2.remap(plane, *self._maps, cv2.INTER_LINEAR) for plane in planes]
        (x0, y0), size = self.corner, self.size(width)
        planes = [plane[y0 : y0 + self.height, x0 : x0 + self.width] for plane in planes]
        return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes])

    def _plane(self, masks: Mapping[str, np.ndarray], name: str, frame: int) -> np.ndarray:
        plane = _unit(masks[name])
        if plane.shape != self.full:
            raise FitError(
                f"the {name} mask of frame {frame} is {plane.shape[1]}x{plane.shape[0]} pixels, "
                f"frame 0 has {self.full[1]}x{self.full[0]}"
            )
        return plane

    def view(self, camera: Camera, width: int) -> View:
        """The camera at the working size."""
        w, h = self.size(width)
        scaled = replace(camera, distortion=()).scaled(w / self.width, h / self.height)
        return View(w, h, np.asarray(scaled.K, float), np.asarray(camera.T_cam_base, float))

    def camera(self, camera: Camera, view: View) -> Camera:
        """The full-size camera after a solve at a working size: new pose, and the focal lengths scaled alike."""
        old = self.view(replace(camera, T_cam_base=view.T_cam_base), max(view.width, view.height)).K
        K = np.array(camera.K, float)
        K[0, 0] *= view.K[0, 0] / old[0, 0]
        K[1, 1] *= view.K[1, 1] / old[1, 1]
        return replace(camera, K=K, T_cam_base=view.T_cam_base)


def shrink(target: np.ndarray, level: Level) -> np.ndarray:
    """A finer target (C,H,W) resampled to a level's width."""
    factor = min(1.0, level.width / max(target.shape[1:]))
    size = max(8, round(target.shape[2] * factor)), max(8, round(target.shape[1] * factor))
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in target])


def close_up(masks: Sequence[Mapping[str, np.ndarray]], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The part (x0, y0, width, height) of pictures of a size (H,W) that shows the robot, if that is small."""
    height, width = size
    scale = THUMBNAIL / max(size)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    ever = np.zeros(small[::-1], bool)
    for t in evenly(len(masks), LOOKED_AT):
        for mask in masks[t].values():
            ever |= cv2.resize(_unit(mask), small, interpolation=cv2.INTER_AREA) > 0.5
    x, y, w, h = cv2.boundingRect(ever.astype(np.uint8))
    if not w:
        return None
    side = max(max(w, h) / scale * (1 + 2 * AROUND), SMALLEST)
    middle = (x + w / 2) / scale, (y + h / 2) / scale
    x0, y0 = (max(0, int(m - side / 2)) for m in middle)
    x1, y1 = (min(limit, int(np.ceil(m + side / 2))) for m, limit in zip(middle, (width, height)))
    return None if max(x1 - x0, y1 - y0) > SMALL * max(size) else (x0, y0, x1 - x0, y1 - y0)


def _moved(camera: Camera, width: int, height: int, corner: tuple[int, int]) -> Camera:
    K = np.array(camera.K, float)
    K[0, 2] -= corner[0]
    K[1, 2] -= corner[1]
    return replace(camera, width=width, height=height, K=K)


def _unit(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise FitError(f"a mask must be (H,W), got shape {mask.shape}")
    if mask.dtype == np.uint8 and mask.max(initial=0) > 1:
        return (mask > 127).astype(np.float32)
    return np.clip(mask.astype(np.float32), 0, 1)
