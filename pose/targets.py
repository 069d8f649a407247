"""Masks as the fit wants them: one array of channels a frame, undistorted, at a working size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from pose.camera import Camera
from pose.errors import FitError
from pose.mask_code import SEAM, mask_code
from pose.solver import Level, View
from urdf import Robot

MIN_SHARE = 5e-4  # of the image: a smaller mask is no robot


class Targets:
    """Random access to the masks of a clip, one frame in memory at a time.

    Attributes:
        channels: (C,G) float32, what each label of links counts in each channel, times the channel's weight; channel 0
            is the robot when it can be. labels: (L,) label of each link, for `make_model`; None: 0 arm, 1 gripper.
        names: of the masks. width, height: full size of the masks.
    """

    def __init__(self, masks: Sequence[Mapping[str, np.ndarray]], camera: Camera | None, robot: Robot | None = None):
        """Masks by part and, with the robot, by link.

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
        self._maps = None
        if camera is not None and any(camera.distortion):
            K = np.asarray(camera.K, float)
            self._maps = cv2.initUndistortRectifyMap(
                K, np.array(camera.distortion), np.eye(3), K, (self.width, self.height), cv2.CV_32FC1
            )

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
        return np.stack([cv2.resize(plane, self.size(width), interpolation=cv2.INTER_AREA) for plane in planes])

    def _plane(self, masks: Mapping[str, np.ndarray], name: str, frame: int) -> np.ndarray:
        plane = _unit(masks[name])
        if plane.shape != (self.height, self.width):
            raise FitError(
                f"the {name} mask of frame {frame} is {plane.shape[1]}x{plane.shape[0]} pixels, "
                f"frame 0 has {self.width}x{self.height}"
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


def _unit(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise FitError(f"a mask must be (H,W), got shape {mask.shape}")
    if mask.dtype == np.uint8 and mask.max(initial=0) > 1:
        return (mask > 127).astype(np.float32)
    return np.clip(mask.astype(np.float32), 0, 1)
