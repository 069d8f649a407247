"""Train the compact segmenter on shards while they are still being rendered."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segmentation.network import ConvNorm, RobotNet
from segmentation.training.augment import augment
from segmentation.training.losses import segmentation_loss
from segmentation.training.pretrained import load_imagenet
from segmentation.training.npz_shards import read_shard

FROZEN_STAGES = 3  # of the encoder, up to stride 8: ImageNet's edges and textures suit real pictures, renderings' don't


@dataclass(frozen=True)
class TrainSettings:
    """How to train. The learning rate falls to zero over `minutes` of wall clock."""

    minutes: float = 60.0
    width: int = 352
    height: int = 256
    batch: int = 8
    rate: float = 1.2e-3  # decoder
    encoder_rate: float = 3e-4
    warmup: int = 100
    average: float = 0.998  # of the weights, per step
    save_every: float = 180.0  # seconds
    seed: int = 0


class Samples:
    """An endless stream of batches from a folder of shards; shards that appear later are taken up."""

    def __init__(self, folder: Path, photos: list[np.ndarray], settings: TrainSettings):
        self.folder, self.photos, self.settings = folder, photos, settings
        self.known: dict[Path, list] = {}
        self.rng = np.random.default_rng(settings.seed)
        self.uses = np.zeros(0)
        self.pool: list[tuple] = []
        self.checked = 0.0
        self.batches: queue.Queue = queue.Queue(maxsize=3)
        threading.Thread(target=self._work, daemon=True).start()

    def _refresh(self) -> None:
        if self.pool and time.monotonic() - self.checked < 20:
            return
        self.checked = time.monotonic()
        for path in sorted(self.folder.glob("*.npz")):
            if path not in self.known:
                samples = read_shard(path)
                self.known[path] = samples
                self.pool += samples
                self.uses = np.concatenate([self.uses, np.zeros(len(samples))])

    def _work(self) -> None:
        s = self.settings
        while True:
            self._refresh()
            if len(self.pool) < s.batch:
                time.sleep(1)
                continue
            images, parts = [], []
            # the least used first: new shards are seen as often as old ones
            order = np.argsort(self.uses + self.rng.uniform(0, 1.5, len(self.uses)))[: s.batch]
            for i in order:
                self.uses[i] += 1
                other = self.pool[self.rng.integers(len(self.pool))]
                rgb, part = augment(self.rng, self.pool[i], self.photos, other, s.width, s.height)
                images.append(rgb)
                parts.append(part)
            self.batches.put((torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(parts))))

    def next(self) -> tuple[Tensor, Tensor]:
        """image (B,3,H,W) float 0..255 and part (B,H,W) int64."""
        image, part = self.batches.get()
        image = image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).float()
        return image, part.long()


def prepare(network: RobotNet) -> list[dict]:
    """Freeze the encoder's batch norms and its first layers; parameter groups: encoder, decoder."""
    for layer in (network.encoder.stem, *network.encoder.stages[:FROZEN_STAGES]):
        layer.requires_grad_(False)
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    ids = {id(p) for p in network.encoder.parameters()}
    decoder = [p for p in network.parameters() if id(p) not in ids]
    return [{"params": encoder}, {"params": decoder}]


def training_mode(network: RobotNet) -> None:
    """Train mode everywhere but in the encoder's batch norms."""
    network.train()
    for module in network.encoder.modules():
        if isinstance(module, ConvNorm):
            module.norm.eval()


def save_weights(network: RobotNet, path: Path) -> None:
    """Half-precision state dict, written whole or not at all."""
    state = {
        k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items() if "num_batches" not in k
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def train(
    shards: Path, out: Path, photos: list[np.ndarray], settings: TrainSettings,
    log: Callable[[str], None] = print, start_from: Path | None = None,
) -> RobotNet:  # fmt: skip
    """Train for `settings.minutes`; averaged weights go to out/step_<n>.pt every few minutes. Returns the
    average."""
    torch.manual_seed(settings.seed)
    network = RobotNet()
    load_imagenet(network)
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, weights_only=True), strict=False)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = prepare(network)
    optimizer = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=1e-2)
    averaged = {k: v.detach().clone().float() for k, v in network.state_dict().items()}
    mean = RobotNet().eval()
    samples = Samples(shards, photos, settings)
    samples.next()
    start = saved = time.monotonic()
    step, recent = 0, []
    while True:
        elapsed = (time.monotonic() - start) / 60
        done = elapsed / settings.minutes
        if done >= 1:
            break
        factor = min(1.0, (step + 1) / settings.warmup) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
        for group, rate in zip(optimizer.param_groups, (settings.encoder_rate, settings.rate)):
            group["lr"] = rate * factor
        training_mode(network)
        image, part = samples.next()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = network(image)
        loss = segmentation_loss(scores, part)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        step += 1
        keep = min(settings.average, (step + 1) / (step + 20))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    averaged[key].lerp_(value.float(), 1 - keep)
        recent.append((loss.item(), overlap(scores, part)))
        if step % 50 == 0:
            losses, ious = np.mean(recent, 0)
            recent.clear()
            rate = step * settings.batch / (time.monotonic() - start)
            numbers = f"loss {losses:.3f} iou {ious:.3f} samples/s {rate:.1f} pool {len(samples.pool)}"
            log(f"step {step} min {elapsed:.1f} {numbers}")
        if time.monotonic() - saved > settings.save_every:
            saved = time.monotonic()
            mean.load_state_dict(averaged)
            save_weights(mean, out / f"step_{step:06d}.pt")
    mean.load_state_dict(averaged)
    save_weights(mean, out / "last.pt")
    return mean


def overlap(scores: Tensor, part: Tensor) -> float:
    """IoU of the whole robot over the batch."""
    with torch.no_grad():
        predicted, truth = scores.argmax(1) > 0, part > 0
        return float((predicted & truth).sum() / (predicted | truth).sum().clamp(min=1))
