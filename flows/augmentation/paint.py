"""One augmented frame: the robot cut out and put elsewhere, or another robot drawn in its place."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from flows.augmentation.light import Lighting, blurred
from flows.augmentation.matte import composite, disc, encoded, linear, own_colour, soft_matte
from flows.augmentation.retarget import Motion
from flows.augmentation.scene import Backdrop, Shadows
from flows.augmentation.source import Source, Survey, hidden_by_robot
from flows.drawing import part_image
from pose.camera import Camera
from pose.shading import render_color
from urdf import Robot

Masks = dict[str, np.ndarray]


class Painter(Protocol):
    """Makes one frame after the other."""

    def paint(self, t: int, image: np.ndarray) -> tuple[np.ndarray, Masks, float]:
        """The picture (H,W,3) uint8 for frame t of the video, its masks (H,W) bool by part, and the `iou` to state."""
        ...


class CutOut:
    """The robot itself before another backdrop."""

    def __init__(self, source: Source, look: Survey, backdrop: Backdrop, cut: str) -> None:
        """`cut`: along the "masks", or along the "fit"ted robot where there is one."""
        self.source, self.backdrop, self.cut = source, backdrop, cut
        self.behind = linear(backdrop.image)
        self.shadows = None
        if backdrop.table:
            self.shadows = Shadows(source.robot, source.episode.camera, look.lighting)

    def paint(self, t: int, image: np.ndarray) -> tuple[np.ndarray, Masks, float]:
        """See `Painter.paint`."""
        episode = self.source.episode
        masks = {part: mask > 0 for part, mask in self.source.masks[t].items()}
        iou = float(episode.iou[t])
        if self.cut == "fit" and episode.valid[t]:
            parts = part_image(self.source.robot, episode.q[t], episode.camera)
            masks, iou = {"robot": parts >= 0, "arm": parts == 0, "gripper": parts == 1}, 1.0
        shown = np.any(list(masks.values()), axis=0)
        kept = self.source.kept(t)
        alpha = soft_matte(image, shown if kept is None else shown | kept)
        front = np.minimum(own_colour(linear(image), alpha) * self.backdrop.gain, 1)
        behind = self.behind
        if self.shadows is not None and episode.valid[t]:
            behind = behind * self.shadows.at(episode.q[t])
        return encoded(composite(front, alpha, behind)), masks, iou


class Redraw:
    """Another robot drawn where the old one was."""

    def __init__(
        self, source: Source, look: Survey, backdrop: Backdrop | None, robot: Robot, motion: Motion, camera: Camera,
        seed: tuple[int, ...],
    ) -> None:  # fmt: skip
        """`backdrop` None = the video's own scene. `camera`: with T_cam_base of the new robot's base."""
        self.source, self.look, self.backdrop = source, look, backdrop
        self.robot, self.motion, self.camera, self.seed = robot, motion, camera, seed
        self.lighting: Lighting = look.lighting if backdrop is None else look.lighting.scaled(backdrop.gain)
        self.shadows = Shadows(robot, camera, look.lighting) if backdrop is None or backdrop.table else None

    def paint(self, t: int, image: np.ndarray) -> tuple[np.ndarray, Masks, float]:
        """See `Painter.paint`."""
        scene, new = self._scene(t, image)
        shape = image.shape[:2]
        part = np.zeros(shape, np.uint8)
        picture = encoded(scene)
        if self.motion.reached[t]:
            q = self.motion.q[t]
            if self.shadows is not None:
                picture = encoded(scene * self.shadows.at(q))
            light = self.lighting
            drawn = render_color(
                self.robot, q, self.camera, lights=light.lights, surroundings=light.surroundings, background=picture,
                exposure=1.0,
            )  # fmt: skip
            part = drawn.part
            near = cv2.dilate((part > 0).astype(np.uint8), disc(max(1, round(2 * light.blur)))) > 0
            picture = np.where(near[..., None], blurred(drawn.rgb, light.blur), picture)
            new |= part > 0
        rng = np.random.default_rng((*self.seed, t))
        grain = blurred(rng.normal(0, 1, image.shape).astype(np.float32), 0.5)  # as demosaicing and codecs leave it
        grain *= self.look.lighting.noise / max(float(grain.std()), 1e-6)
        picture = np.where(new[..., None], np.clip(picture + grain + 0.5, 0, 255), picture).astype(np.uint8)
        masks = {"robot": part > 0, "arm": part == 1, "gripper": part == 2}
        kept = self.source.kept(t)
        drawn_pixels = int(masks["robot"].sum())
        if kept is not None and kept.any():  # it was seen, so it is before the robot
            alpha = soft_matte(image, kept)
            gain = 1.0 if self.backdrop is None else self.backdrop.gain
            front = np.minimum(own_colour(linear(image), alpha) * gain, 1)
            picture = encoded(composite(front, alpha, linear(picture)))
            masks = {name: mask & ~kept for name, mask in masks.items()}
        return picture, masks, int(masks["robot"].sum()) / drawn_pixels if drawn_pixels else float("nan")

    def _scene(self, t: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear light without any robot, and where it is not this frame's own."""
        if self.backdrop is not None:
            return linear(self.backdrop.image), np.zeros(image.shape[:2], bool)
        hidden = hidden_by_robot(self.source, t)
        soft = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), max(1.0, image.shape[1] / 400))
        soft = np.where(hidden, 1, 2 * soft).clip(0, 1)  # fades outwards from the edge, where it is a half
        return composite(linear(self.look.plate.image), soft, linear(image)), hidden
