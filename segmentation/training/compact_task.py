"""Training of the compact network: which samples, which memory, which loss; `training.loop` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segmentation.network import ConvNorm, RobotNet
from segmentation.training.augment import augment
from segmentation.training.losses import IGNORED, segmentation_loss
from segmentation.training.pretrained import load_imagenet
from segmentation.training.remember import remembered
from segmentation.training.shards import ShardSet, decode

FROZEN_STAGES = 3  # of the encoder, up to stride 8: ImageNet's edges and textures suit real pictures, renderings' don't
OTHERS = 0.2  # share of samples that meet another one: as background, or as the memory of another scene
OWN_ANSWER = 0.2  # share of steps whose memory is the network's own first answer, moved a little

Batch = tuple[Tensor, Tensor, Tensor, bool]  # image (B,3,H,W), part (B,H,W), memory (B,3,H,W), use the own answer


@dataclass(frozen=True)
class CompactSettings:
    """Size of the pieces trained on, samples a step, learning rates at the start, seed."""

    width: int = 352
    height: int = 256
    batch: int = 8
    rate: float = 1.2e-3  # decoder
    encoder_rate: float = 3e-4
    warmup: int = 100
    seed: int = 0


class CompactTask:
    """A `loop.Task`. Batch n depends on the seed and n alone, so a resumed run goes on as if never stopped.

    Args:
        shards: labelled pictures; several sets are drawn from by their `shares` (default: by their sizes).
        photos: RGB uint8 pictures without robots, to go behind robots.
        network: to go on with; default one with the encoder's ImageNet weights. device: where to train.
    """

    def __init__(
        self, shards: ShardSet | Sequence[ShardSet], photos: Sequence[np.ndarray], settings: CompactSettings,
        network: RobotNet | None = None, shares: Sequence[float] = (), device: str = "cpu",
    ) -> None:  # fmt: skip
        self.sets = [shards] if isinstance(shards, ShardSet) else list(shards)
        self.sets, given = _filled(self.sets, shares)
        total = np.array(given, float)
        self.shares, self.photos, self.settings = total / total.sum(), photos, settings
        torch.manual_seed(settings.seed)
        if network is None:
            network = RobotNet()
            load_imagenet(network)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        groups = _groups(network, settings)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
        self.frames_before = [_frames_before(s) for s in self.sets]
        self.device = next(network.parameters()).device

    def factor(self, step: int, steps: int) -> float:
        """Of the learning rate: a short rise, then half a cosine to a fiftieth."""
        return min(1.0, (step + 1) / self.settings.warmup) * (0.02 + 0.49 * (1 + float(np.cos(np.pi * step / steps))))

    def batch(self, step: int) -> Batch:
        """Batch number `step`."""
        s = self.settings
        rng = np.random.default_rng((s.seed, step))
        images, parts, memories = [], [], []
        for _ in range(s.batch):
            sample, before = self._draw(rng)
            other = self._draw(rng)[0] if rng.random() < OTHERS else None
            rgb, part, before = augment(rng, sample, self.photos, other, s.width, s.height, before)
            images.append(rgb)
            parts.append(part)
            memories.append(remembered(rng, part, before, other and other[1]))
        image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        own = bool(rng.random() < OWN_ANSWER)
        return image, torch.from_numpy(np.stack(parts)), torch.from_numpy(np.stack(memories)), own

    def _draw(self, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray | None]:
        """A random picture with its part, and the frame before's part if it is one of a clip."""
        which = int(rng.choice(len(self.sets), p=self.shares))
        index = int(rng.integers(len(self.sets[which])))
        before = self.frames_before[which].get(index)
        previous = None if before is None else decode(self.sets[which][before])[1]
        return decode(self.sets[which][index]), previous

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and what to write in the log."""
        image, part, memory = (x.to(self.device) for x in batch[:3])
        image, part = image.float(), part.long()
        training_mode(self.network)
        if batch[3]:
            with torch.no_grad():
                memory = _own_answer(self.network(image))
        scores = self.network(image, memory)
        return segmentation_loss(scores, part), {"iou": overlap(scores, part)}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Pictures, memories, answers and truths below each other."""
        image, part, memory = (x.to(self.device) for x in batch[:3])
        answer = self.network(image.float(), memory).argmax(1)
        rows = [image.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)]
        believed = torch.where(memory[:, :2].amax(1) > 0.5, memory[:, :2].argmax(1) + 1, 0)
        rows += [_painted(rows[0], x.cpu().numpy()) for x in (believed, answer, part)]
        return {"picture / memory / answer / truth": np.vstack([np.hstack(list(row[:6])) for row in rows])}


def _filled(sets: Sequence[ShardSet], shares: Sequence[float]) -> tuple[list[ShardSet], list[float]]:
    if shares and len(shares) != len(sets):
        raise ValueError(f"{len(sets)} sets of shards but {len(shares)} shares")
    pairs = [(s, w) for s, w in zip(sets, shares or [len(s) for s in sets]) if len(s) and w > 0]
    if not pairs:
        raise ValueError("no labelled pictures in the shards: render some with `urdfit train data`")
    return [s for s, _ in pairs], [float(w) for _, w in pairs]


def _frames_before(shards: ShardSet) -> dict[int, int]:
    """index of a clip's frame -> index of the one before."""
    return {b: a for clip in shards.clips for a, b in pairwise(clip)}


def _groups(network: RobotNet, settings: CompactSettings) -> list[dict[str, Any]]:
    """Freeze the encoder's first layers; parameter groups of the rest of it and of the decoder."""
    for layer in (network.encoder.stem, *network.encoder.stages[:FROZEN_STAGES]):
        layer.requires_grad_(False)
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    ids = {id(p) for p in network.encoder.parameters()}
    decoder = [p for p in network.parameters() if id(p) not in ids]
    return [{"params": encoder, "lr": settings.encoder_rate}, {"params": decoder, "lr": settings.rate}]


def training_mode(network: RobotNet) -> None:
    """Train mode everywhere but in the encoder's batch norms."""
    network.train()
    for module in network.encoder.modules():
        if isinstance(module, ConvNorm):
            module.norm.eval()


def _own_answer(scores: Tensor) -> Tensor:
    """The network's answer as the memory of a frame in which everything stood a few pixels aside."""
    p = scores.float().softmax(1)
    dy, dx = (int(v) for v in torch.randint(-6, 7, (2,)))
    moved = F.pad(p[:, 1:], (8, 8, 8, 8))[:, :, 8 + dy : 8 + dy + p.shape[2], 8 + dx : 8 + dx + p.shape[3]]
    return torch.cat([moved, torch.ones_like(p[:, :1])], 1)


@torch.no_grad()
def overlap(scores: Tensor, part: Tensor) -> float:
    """IoU of the whole robot over the batch."""
    known = part != IGNORED
    predicted, truth = (scores.argmax(1) > 0) & known, (part > 0) & known
    return float((predicted & truth).sum() / (predicted | truth).sum().clamp(min=1))


def _painted(pictures: np.ndarray, part: np.ndarray) -> np.ndarray:
    colors = np.array([[0, 0, 0], [0, 200, 0], [200, 0, 0]], np.uint8)
    known = np.where(part > 2, 0, part)
    return np.where((known > 0)[..., None], pictures // 2 + colors[known] // 2, pictures)
