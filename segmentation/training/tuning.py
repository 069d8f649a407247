"""Trained weights of the compact network go on a little: closer views, more pictures without robots, small steps.

Made the default weights of version 1 from those of version 0. What differs from training from ImageNet: the statistics
of every batch normalisation stay, so do the memory's layers; a share of the samples are photos, panoramas and their
bleached copies without any robot; many crops are filled by the robot; robots are not often repainted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from segmentation.network import ConvNorm, RobotNet
from segmentation.training.assets import Assets, pick
from segmentation.training.augment import Picture, _cut, _random_piece, _repainted, _window, camera_effects
from segmentation.training.backdrops import _panorama
from segmentation.training.compact_task import Batch, CompactSettings, CompactTask, overlap
from segmentation.training.losses import segmentation_loss
from segmentation.training.shards import ShardSet, decode

TUNING = CompactSettings(rate=1e-4, encoder_rate=2.5e-5, warmup=40)
AVERAGE, WEIGHT_DECAY = 0.99, 1e-3
CLOSE, FILLS = 0.4, (0.12, 0.75)  # share of samples with a robot that are cropped closely; what the robot fills there
PASTED = {"real": 0.55, "drawn": 0.3}  # share of samples that get another background
BLEACHED = 0.3  # share of backgrounds and of pictures without a robot


class TuningTask(CompactTask):
    """A `loop.Task` that goes on from `network`. `without`: share of samples from `photos` and `panoramas` alone."""

    def __init__(
        self, shards: Sequence[ShardSet], photos: Sequence[np.ndarray], settings: CompactSettings, network: RobotNet,
        shares: Sequence[float] = (), device: str = "cpu", panoramas: Sequence[np.ndarray] = (), without: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__(shards, photos, settings, network, shares, device)
        self.panoramas, self.without = list(panoramas), without if len(photos) or len(panoramas) else 0.0
        self.rooms = [(s, i) for s in self.sets for i in range(len(s)) if s[i].meta.get("robot", "") is None]
        self.network.memory.requires_grad_(False)
        groups = [
            {"params": [p for p in group["params"] if p.requires_grad], "lr": group["lr"]}
            for group in self.optimizer.param_groups
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)

    def factor(self, step: int, steps: int) -> float:
        """A short rise, then half a cosine to a twentieth."""
        return min(1.0, (step + 1) / self.settings.warmup) * (0.05 + 0.475 * (1 + float(np.cos(np.pi * step / steps))))

    def batch(self, step: int) -> Batch:
        """Batch number `step`; its memory is empty."""
        s = self.settings
        rng = np.random.default_rng((s.seed, step))
        pairs = [self._sample(rng) for _ in range(s.batch)]
        images, parts = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*pairs))
        image = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return image, parts, torch.zeros(s.batch, 3, s.height, s.width), False

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """As in the training from ImageNet, without memory, with every batch normalisation's statistics kept."""
        image, part = (x.to(self.device) for x in batch[:2])
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, ConvNorm):
                module.norm.eval()
        scores, truth = self.network(image.float()), part.long()
        return segmentation_loss(scores, truth), {"iou": overlap(scores, truth)}

    def _sample(self, rng: np.random.Generator) -> Picture:
        s = self.settings
        if rng.random() < self.without:
            rgb, part = self._without(rng)
        else:
            shards = self.sets[int(rng.choice(len(self.sets), p=self.shares))]
            sample = shards[int(rng.integers(len(shards)))]
            rgb, part = self._behind(rng, *decode(sample), sample.meta.get("source") != "rendered")
            robot = (part == 1) | (part == 2)
            if not robot.any() and rng.random() < BLEACHED:
                rgb = bleached(rng, rgb)
            if rng.random() < 0.12:
                rgb = _repainted(rng, rgb, robot)
            if rng.random() < 0.25:
                rgb = np.clip(rgb.astype(np.float32) * rng.uniform(1.2, 2.2), 0, 255).astype(np.uint8)
            rgb, part = _cut(rng, rgb, part, close_window(rng, part), s.width, s.height)
        if rng.random() < 0.5:
            rgb, part = rgb[:, ::-1], part[:, ::-1]
        return camera_effects(rng, np.ascontiguousarray(rgb)), np.ascontiguousarray(part)

    def _without(self, rng: np.random.Generator) -> Picture:
        """A piece of a photo or of a panorama, from a tenth of its side."""
        s = self.settings
        rgb = self._photo(rng, 3 * s.height, 3 * s.width)
        if rng.random() < BLEACHED:
            rgb = bleached(rng, rgb)
        if rng.random() < 0.25:
            rgb = np.clip(rgb.astype(np.float32) * rng.uniform(1.2, 2.2), 0, 255).astype(np.uint8)
        h, w = rgb.shape[:2]
        ch = int(min(h, w * s.height / s.width) * rng.uniform(0.12, 1))
        cw = min(w, int(ch * s.width / s.height))
        window = int(rng.integers(w - cw + 1)), int(rng.integers(h - ch + 1)), cw, ch
        return _cut(rng, rgb, np.zeros((h, w), np.uint8), window, s.width, s.height)

    def _photo(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        if self.panoramas and (not len(self.photos) or rng.random() < 0.5):
            assets: Any = Assets([], [], self.panoramas, [], [], np.zeros(0))
            return _panorama(rng, assets, width, height)
        return pick(rng, self.photos)

    def _behind(self, rng: np.random.Generator, rgb: np.ndarray, part: np.ndarray, real: bool) -> Picture:
        """The robot before another photo, panorama or rendered room, some of the time."""
        robot = (part == 1) | (part == 2)
        if not robot.any() or rng.random() >= PASTED["real" if real else "drawn"]:
            return rgb, part
        if self.rooms and rng.random() < 0.25:
            shards, index = self.rooms[int(rng.integers(len(self.rooms)))]
            room = decode(shards[index])[0]
            x, y, w, h = _window(rng, np.zeros(room.shape[:2], np.uint8))
            behind = cv2.resize(room[y : y + h, x : x + w], part.shape[::-1])
        elif len(self.photos) or self.panoramas:
            behind = _random_piece(rng, self._photo(rng, *part.shape), *part.shape)
        else:
            return rgb, part
        if rng.random() < BLEACHED:
            behind = bleached(rng, behind)
        share: Any = robot.astype(np.float32)
        if real:
            if rng.random() < 0.5:
                behind = np.clip(behind * np.exp(rng.normal(0, 0.3)), 0, 255).astype(np.uint8)
            share = cv2.GaussianBlur(share, (0, 0), rng.uniform(0.5, 1.2))
        mixed = rgb * share[..., None] + behind * (1 - share[..., None])
        return mixed.astype(np.uint8), np.where(robot, part, 0).astype(np.uint8)


def bleached(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """A picture almost without colours, most of it near white: walls and dishes that are no robot."""
    x = rgb.astype(np.float32)
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * rng.uniform(0, 0.4)
    bright = max(float(np.percentile(grey, rng.uniform(30, 80))), 20.0)
    out = x * rng.uniform(170, 255) / bright * np.exp(rng.normal(0, 0.03, 3))
    return np.clip(out, 0, 255).astype(np.uint8)


def close_window(rng: np.random.Generator, part: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width, height: anywhere, or (CLOSE of the time) where the robot fills much of it."""
    if rng.random() < CLOSE:
        H, W = part.shape
        robot = (part == 1) | (part == 2)
        for _ in range(25 if robot.any() else 0):
            scale, stretch = rng.uniform(0.15, 0.6), np.exp(rng.normal(0, 0.12))
            h, w = int(min(H, H * scale / stretch)), int(min(W, W * scale * stretch))
            x, y = int(rng.integers(W - w + 1)), int(rng.integers(H - h + 1))
            if FILLS[0] < robot[y : y + h, x : x + w].mean() < FILLS[1]:
                return x, y, w, h
    return _window(rng, part)
