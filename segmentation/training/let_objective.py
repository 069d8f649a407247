"""Which of LET's losses a frame of a clip gets (arXiv 2511.22950)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segmentation.robotseg.structure import structure_maps
from segmentation.training.let_losses import (
    LetWeights,
    described,
    mask_loss,
    object_loss,
    patch_loss,
    semantic_loss,
    structure_loss,
)
from segmentation.training.let_tracker import Tracked


@dataclass(frozen=True)
class Truth:
    """What is known of a frame of B objects.

    Attributes:
        mask, valid: (B,1,H,W) floats 0 or 1, and where the label is known; None for a frame without labels.
        rough: (B,1,h,w) guess of the mask per patch, for frames without labels; None if there is none.
    """

    mask: Tensor | None = None
    valid: Tensor | None = None
    rough: Tensor | None = None


def objective(
    tracked: Sequence[Tracked], truths: Sequence[Truth], weights: LetWeights
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a clip, and its parts as they enter it.

    Labelled frames (in LET the first and the last, which closes the cycle): mask, predicted IoU and "it shows", for
    every decoding. Others: is it the first frame's object by its features, and does the last decoding agree with the
    rough mask? The last frame also teaches the outline maps, if it is labelled.
    """
    first = truths[0].mask
    assert first is not None, "the first frame of a clip must be labelled"
    known = bool(first.flatten(1).any(1).all())
    anchor = described(tracked[0].features, first) if known else None
    terms: dict[str, list[Tensor]] = {name: [] for name in ("mask", "object", "semantic", "patch", "structure")}
    for frame, truth in zip(tracked, truths):
        for masks, ious, best, score in zip(frame.masks, frame.ious, frame.best, frame.scores):
            if truth.mask is not None and truth.valid is not None:
                terms["mask"].append(mask_loss(masks, ious, truth.mask, truth.valid, weights))
                terms["object"].append(weights.object * object_loss(score, truth.mask))
            elif anchor is not None:
                terms["semantic"].append(weights.semantic * semantic_loss(frame.features, best, anchor))
        if truth.mask is None and truth.rough is not None and frame.best:
            terms["patch"].append(weights.patch * patch_loss(frame.best[-1], truth.rough))
    last, end = tracked[-1].structure, truths[-1].mask
    if last is not None and end is not None:
        terms["structure"].append(weights.structure * structure_loss(structure_maps(last), end))
    sums = {name: torch.stack(values).sum() for name, values in terms.items() if values}
    return torch.stack(list(sums.values())).sum(), {name: float(value.detach()) for name, value in sums.items()}
