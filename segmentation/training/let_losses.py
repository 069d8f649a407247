"""The losses of LET, RobotSeg's training with a label on the first frame only (arXiv 2511.22950).

All take a batch of B objects and return one number: sums over objects divided by B, as SAM 2 divides. Masks are logits
at the size of the network's input; targets and `valid` (1 where the label is known) are floats 0 or 1 of that size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
TINY = 1e-6
# Differences to all eight neighbours; its scale drops out, as outlines are divided by their maximum.
LAPLACIAN = ((1.0, 1.0, 1.0), (1.0, -8.0, 1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class LetWeights:
    """Factors of the losses; of the mask's two terms also where the best of several masks is chosen."""

    focal: float = 5.0
    dice: float = 1.0
    iou: float = 1.0
    object: float = 1.0
    semantic: float = 1.0
    patch: float = 1.0
    structure: float = 1.0


def focal(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Lin et al., "Focal loss" (2017): mean over known pixels. (B,M,H,W), (B,1,H,W), (B,1,H,W) to (B,M)."""
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    wrong = p * (1 - target) + (1 - p) * target
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    return (weight * wrong**GAMMA * entropy * valid).sum((-2, -1)) / valid.sum((-2, -1)).clamp(min=1)


def dice(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - (2 sum pt + 1) / (sum p + sum t + 1) (Milletari et al., 2016). Shapes as `focal`."""
    p, t = logits.sigmoid() * valid, target * valid
    return 1 - (2 * (p * t).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + t.sum((-2, -1)) + 1)


def overlap(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of logits > 0 and the target; shapes as `focal`. No gradient."""
    inside, t = (logits > 0) & (valid > 0), (target > 0.5) & (valid > 0)
    return (inside & t).sum((-2, -1)).float() / (inside | t).sum((-2, -1)).clamp(min=1)


def mask_loss(logits: Tensor, ious: Tensor, target: Tensor, valid: Tensor, weights: LetWeights) -> Tensor:
    """Of the M masks offered (B,M,H,W) the one nearest to the target is trained; and its predicted IoU (B,M).

    "Nearest" by weighted focal and Dice loss. Objects that do not show in the frame have no such loss.
    """
    focals, dices = focal(logits, target, valid), dice(logits, target, valid)
    best = (weights.focal * focals + weights.dice * dices).argmin(1, keepdim=True)
    error = (ious.float() - overlap(logits.detach(), target, valid)).abs()
    chosen = (
        weight * value.gather(1, best)[:, 0]
        for weight, value in ((weights.focal, focals), (weights.dice, dices), (weights.iou, error))
    )
    return (sum(chosen) * shown(target)).sum() / len(logits)


def object_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of "the object shows in this frame", logits (B,1)."""
    return F.binary_cross_entropy_with_logits(scores.float()[:, 0], shown(target))


def shown(target: Tensor) -> Tensor:
    """(B) 1 where any pixel of the target (B,1,H,W) is inside."""
    return (target.flatten(1).amax(1) > 0.5).float()


def described(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of features (B,C,h,w) under a soft mask (B,1,H,W), of length 1: (B,C)."""
    weight = F.interpolate(mask.float(), size=features.shape[-2:], mode="bilinear", align_corners=False)
    mean = (features.float() * weight).sum((-2, -1)) / weight.sum((-2, -1)).clamp(min=TINY)
    return F.normalize(mean, dim=1)


def semantic_loss(features: Tensor, logits: Tensor, anchor: Tensor) -> Tensor:
    """How unlike the first frame's object is what a mask covers: 1 - cosine, mean over objects.

    Args:
        features: of the frame (B,C,h,w). logits: the mask (B,1,H,W). anchor: `described` of the labelled frame (B,C).
    """
    return 1 - (described(features, logits.sigmoid()) * anchor).sum(1).mean()


def patch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft IoU with a rough target, both reduced to its patches.

    Args:
        logits: (B,1,H,W). target: 0..1 per patch (B,1,h,w).
    """
    p = F.interpolate(logits.float().sigmoid(), size=target.shape[-2:], mode="bilinear", align_corners=False)
    both = (p * target).sum((-3, -2, -1))
    return 1 - ((both + TINY) / ((p + target).sum((-3, -2, -1)) - both + TINY)).mean()


def outlines(target: Tensor) -> Tensor:
    """|Laplacian| of masks (B,1,H,W), each divided by its maximum; 0 for an empty mask."""
    kernel = torch.tensor(LAPLACIAN, device=target.device)[None, None]
    edges = F.conv2d(F.pad(target, (1, 1, 1, 1), mode="reflect"), kernel).abs()
    return edges / edges.amax((-2, -1), keepdim=True).clamp(min=TINY)


def structure_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the memory attention's structure maps, logits (B,layers,H,W), to the mask's outline."""
    return (maps.float().sigmoid() - outlines(target)).abs().mean()
