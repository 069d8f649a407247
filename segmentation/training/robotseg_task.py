"""Training of RobotSeg by LET (arXiv 2511.22950): a label on the first frame of a clip is enough; `loop.fit` runs it.

Differences from the published training, all by choice: labels of later frames are used where there are any
(`dense`), clips may start at any labelled frame, and rough masks that are not on disk are made of the frozen image
encoder's features unless better ones are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segmentation.errors import TrainingError
from segmentation.robotseg.build import skeleton
from segmentation.robotseg.pictures import DEVIATION, MEAN
from segmentation.robotseg.predictor import RobotSegPredictor
from segmentation.robotseg.recognise import check, nearest, shapes
from segmentation.training.let_batches import Batch, Batches, BatchSettings
from segmentation.training.let_losses import LetWeights
from segmentation.training.let_objective import Truth, objective
from segmentation.training.let_optimizer import OptimizerSettings, cosine, make_optimizer
from segmentation.training.let_tracker import Tracked, Tracker
from segmentation.training.patch_targets import EncoderFeatures, Features, patch_masks
from segmentation.training.shards import IGNORE
from segmentation.training.sources import Source
from segmentation.weights_store import read_weights

TINY_SAM2 = "sam2.1_hiera_t"  # RobotSeg is this and more, so its weights are a start
SHOWN = 7  # frames in a picture of the log
COLOURS = {"answer": (255, 80, 0), "truth": (0, 160, 255)}


@dataclass(frozen=True)
class RobotSegSettings:
    """How to train; the defaults are the paper's.

    Attributes:
        drop_path: rate at which the encoder's last block is left out; earlier ones less.
    """

    batches: BatchSettings = field(default_factory=BatchSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    weights: LetWeights = field(default_factory=LetWeights)
    drop_path: float = 0.1
    seed: int = 0

    def identity(self) -> dict[str, Any]:
        """All settings, flat, for `loop.fit`."""
        flat: dict[str, Any] = {}
        for key, value in asdict(self).items():
            flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        return flat


class RobotSegTask:
    """A `loop.Task`.

    Args:
        sources: at least one with clips.
        start: a state dict or file of RobotSeg, or of SAM 2.1 tiny; None begins with random numbers.
        features: of the pictures, for rough masks of frames that have none; default the encoder as it is at the start.

    Raises:
        TrainingError: no clips. WeightsError: weights of another network, or a file that cannot be used.
        ValueError: a size that is no multiple of 128.
    """

    def __init__(
        self, sources: Sequence[Source], settings: RobotSegSettings, *, start: str | Path | Mapping | None = None,
        features: Features | None = None, device: str | torch.device = "cpu",
    ):  # fmt: skip
        if not any(len(source) for source in sources):
            raise TrainingError("no labelled clips to train on")
        self.settings = settings
        self.batches = Batches(sources, settings.batches, settings.seed)
        self.network = make_network(settings.batches.size, settings.drop_path, start, settings.seed).to(device)
        self.device = torch.device(device)
        self.optimizer = make_optimizer(self.network, settings.optimizer)
        self._features = features
        if features is None and not all(source.pictures for source in sources):
            self._features = EncoderFeatures(self.network)
        self._last: list[Tensor] = []

    def factor(self, step: int, steps: int) -> float:
        """Of the learning rates."""
        return cosine(step, steps, self.settings.optimizer.final)

    def batch(self, step: int) -> Batch:
        """Batch number `step`."""
        return self.batches[step]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """LET's objective of a batch."""
        self.network.train()
        pictures = self._pictures(batch)
        truths = self._truths(batch, pictures)
        first = truths[0]
        assert first.mask is not None and first.valid is not None
        rng = np.random.default_rng(batch.seed)
        tracked = Tracker(self.network, batch.parts, batch.kind, first.mask, first.valid, rng).track(pictures)
        self._last = [frame.best[-1][0, 0].detach() for frame in tracked if frame.best]
        loss, numbers = objective(tracked, truths, self.settings.weights)
        return loss, numbers | _overlap(tracked, truths)

    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """The first clip of a batch that `loss` has just seen: its answers above its labels."""
        frames = list(batch.pictures[-len(self._last) :, 0][:SHOWN])
        answers = [(logits > 0).cpu().numpy() for logits in self._last[:SHOWN]]
        labels = [mask == 1 for mask in batch.masks[-len(self._last) :, 0][:SHOWN]]
        rows = [
            np.hstack([_painted(frame, mask, colour) for frame, mask in zip(frames, masks)])
            for masks, colour in ((answers, COLOURS["answer"]), (labels, COLOURS["truth"]))
        ]
        return {f"answer and label ({batch.kind})": np.vstack(rows)}

    def _pictures(self, batch: Batch) -> Tensor:
        """(T,B,3,S,S) normalised."""
        unit = torch.from_numpy(batch.pictures).to(self.device).permute(0, 1, 4, 2, 3).float() / 255
        mean, deviation = (torch.tensor(v, device=self.device)[:, None, None] for v in (MEAN, DEVIATION))
        return (unit - mean) / deviation

    def _truths(self, batch: Batch, pictures: Tensor) -> list[Truth]:
        masks = torch.from_numpy(batch.masks).to(self.device)[:, :, None]
        rough = {t: torch.from_numpy(area).to(self.device)[:, None] for t, area in batch.rough.items()}
        lacking = [t for t, known in enumerate(batch.labelled) if not known and t not in rough]
        if lacking:
            made = self._rough(pictures, (masks[0] == 1).float())
            rough |= {t: made[t] for t in lacking}
        truths = []
        for t, known in enumerate(batch.labelled):
            mask = masks[t]
            truths.append(Truth((mask == 1).float(), (mask != IGNORE).float()) if known else Truth(rough=rough.get(t)))
        return truths

    @torch.no_grad()
    def _rough(self, pictures: Tensor, first: Tensor) -> Tensor:
        """Rough masks (T,B,1,h,w) by features."""
        assert self._features is not None
        features = self._features(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        return torch.stack([patch_masks(features[:, b], first[b]) for b in range(pictures.shape[1])], 1)


def make_network(size: int, drop_path: float, start: str | Path | Mapping | None, seed: int = 0) -> RobotSegPredictor:
    """RobotSeg to be trained, all of it.

    Args:
        start: as `RobotSegTask`. What SAM 2.1 tiny does not have stays random.
    """
    from sam2.modeling.sam2_utils import DropPath

    torch.manual_seed(seed)
    network = skeleton("robotseg", size)
    assert isinstance(network, RobotSegPredictor)
    if start is not None:
        state = start if isinstance(start, Mapping) else read_weights(start)
        name = nearest(state)
        own = network.state_dict()
        expected = own if name != TINY_SAM2 else {key: own[key] for key in skeleton(TINY_SAM2, size).state_dict()}
        check(state, name if name == TINY_SAM2 else "robotseg", shapes(expected))
        network.load_state_dict(state, strict=name != TINY_SAM2)
    blocks = network.image_encoder.trunk.blocks
    for block, rate in zip(blocks, np.linspace(0, drop_path, len(blocks))):
        block.drop_path = DropPath(float(rate)) if rate > 0 else torch.nn.Identity()
    return network


def _overlap(tracked: Sequence[Tracked], truths: Sequence[Truth]) -> dict[str, float]:
    """IoU of the last answer with the label, mean over labelled frames that show the object."""
    found = []
    for frame, truth in zip(tracked, truths):
        if frame.best and truth.mask is not None and truth.valid is not None and truth.mask.any():
            inside, mask = (frame.best[-1] > 0) & (truth.valid > 0), truth.mask > 0
            found.append(float((inside & mask).sum() / (inside | mask).sum()))
    return {"iou": float(np.mean(found))} if found else {}


def _painted(rgb: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.where(mask[..., None], (rgb // 2 + np.array(colour, np.uint8) // 2), rgb)
