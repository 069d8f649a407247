"""A training that must succeed within two minutes on two cores: does everything from rendering to weights work here?

The compact network learns eight rendered pictures by heart, until its masks overlap theirs by more than 0.95. RobotSeg
at 128 pixels, begun with random numbers, takes a few steps on one batch, and its loss falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segmentation.errors import TrainingError, WeightsError
from segmentation.network import RobotNet
from segmentation.training.assets import Sources, load_assets
from segmentation.training.clips import sample_clip
from segmentation.training.losses import segmentation_loss
from segmentation.training.pretrained import load_imagenet
from segmentation.training.scenes import sample_picture
from segmentation.training.shards import Sample, ShardSet, decode, write_shard

WIDTH, HEIGHT = 192, 128
PICTURES = 8
SHARE = 0.08  # of a picture that a robot covers
ENOUGH = 0.95  # overlap that proves the loop
STEPS = {"compact": 100, "robotseg": 16}
RATE = 4e-3
CLIPS, FRAMES, SIDE = 3, 4, 128  # for RobotSeg


def smoke_pictures(robot: str = "panda", seed: int = 0) -> list[Sample]:
    """Eight pictures that show a robot well."""
    assets = load_assets(Sources((robot,)))
    found: list[Sample] = []
    for k in range(20 * PICTURES):
        sample = sample_picture(np.random.default_rng((seed, k)), assets, WIDTH, HEIGHT, f"smoke-{k}")
        if (decode(sample)[1] > 0).mean() > SHARE:
            found.append(sample)
        if len(found) == PICTURES:
            return found
    raise TrainingError(f"{robot}: hardly shows in its own pictures; {len(found)} of {PICTURES} found")


def smoke_clips(folder: Path, robot: str = "panda", seed: int = 0) -> ShardSet:
    """Three clips of four small frames, in a shard in `folder`."""
    path = folder / "smoke.tar"
    if not path.exists():
        assets = load_assets(Sources((robot,)))
        rngs = [np.random.default_rng((seed, k)) for k in range(CLIPS)]
        clips = [sample_clip(rng, assets, SIDE, SIDE, FRAMES, f"smoke-{k}") for k, rng in enumerate(rngs)]
        write_shard(path, [sample for clip in clips for sample in clip])
    return ShardSet(folder)


class ByHeart:
    """A `loop.Task`: the compact network on the same few pictures in every step, unchanged."""

    def __init__(self, samples: Sequence[Sample], seed: int = 0):
        torch.manual_seed(seed)
        self.network = RobotNet()
        try:
            load_imagenet(self.network)
        except WeightsError:
            pass  # eight pictures are learnt from random numbers as well
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.1  # what it keeps must be of these pictures after a hundred steps
        self.optimizer = torch.optim.AdamW(self.network.parameters(), RATE)
        pairs = [decode(sample) for sample in samples]
        self._pictures = np.stack([rgb for rgb, _ in pairs])
        self._parts = torch.from_numpy(np.stack([part for _, part in pairs])).long()
        self._input = torch.from_numpy(self._pictures).permute(0, 3, 1, 2).float()

    def batch(self, step: int) -> Any:
        """All pictures."""
        return self._input, self._parts

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """As the compact network is trained."""
        self.network.train()
        scores = self.network(batch[0])
        return segmentation_loss(scores, batch[1]), {"iou": overlap(scores, batch[1])}

    def pictures(self, batch: Any) -> dict[str, np.ndarray]:
        """What is learnt."""
        return {"pictures": np.hstack(list(self._pictures))}

    def factor(self, step: int, steps: int) -> float:
        """A short rise, then down to zero."""
        return min(1.0, (step + 1) / 10) * (1 - step / steps)

    @torch.no_grad()
    def overlap(self, network: torch.nn.Module) -> float:
        """J of the robot over the pictures, as the network is used: in evaluation mode."""
        return overlap(network.eval()(self._input), self._parts)


def overlap(scores: Tensor, parts: Tensor) -> float:
    """Mean IoU of the robot; scores (B,3,H,W), parts (B,H,W)."""
    found, true = scores.argmax(1) > 0, (parts == 1) | (parts == 2)
    both, either = ((op).flatten(1).sum(1) for op in (found & true, found | true))
    return float((both / either.clamp(min=1)).mean())


class OneBatch:
    """A `loop.Task`: another one that gets its first batch with clicks over and over."""

    def __init__(self, task: Any):
        self.task, self.network, self.optimizer = task, task.network, task.optimizer
        self.pictures = task.pictures
        self._batch = next(batch for k in range(1000) if (batch := task.batch(k)).kind == "click")
        self._fresh = {key: value.clone() for key, value in self.network.state_dict().items()}

    def batch(self, step: int) -> Any:
        """Always the same."""
        return self._batch

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The task's."""
        return self.task.loss(batch)

    def factor(self, step: int, steps: int) -> float:
        """Constant."""
        return 1.0

    @torch.no_grad()
    def loss_before_and_after(self) -> tuple[float, float]:
        """Of the network as it was made, and as it is now; the network is left as it is now."""
        now = {key: value.clone() for key, value in self.network.state_dict().items()}
        found = []
        for state in (self._fresh, now):
            self.network.load_state_dict(state)
            torch.manual_seed(0)
            found.append(float(self.loss(self._batch)[0]))
        return found[0], found[1]
