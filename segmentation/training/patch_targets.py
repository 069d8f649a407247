"""Rough masks of frames without labels, for the patch loss: the first frame's label carried on by image features.

As LET does with DINOv3 (arXiv 2511.22950), after Jabri et al., "Space-time correspondence as a contrastive random
walk" (2020): every patch takes the mean label of the patches most like it, among nearby ones in the first and in the
last few frames.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONTEXT = 7  # last frames that labels come from, besides the first
RADIUS = 12.0  # patches around a place that are looked at
NEAREST = 5  # of them that give their label
TEMPERATURE = 0.2
TINY = 1e-6

Features = Callable[[Tensor], Tensor]  # normalised pictures (N,3,H,W) to features (N,C,h,w)


def carry_labels(features: Tensor, first: Tensor) -> Tensor:
    """Soft labels (T,K,h,w) of every frame of a clip.

    Args:
        features: (T,C,h,w), of any length. first: labels of the first frame (K,h,w), adding up to 1.
    """
    count, _, height, width = features.shape
    looks = F.normalize(features.float(), dim=1).flatten(2)
    near = _near(height, width, features.device)
    labels = [first.flatten(1).float()]
    for t in range(1, count):
        context = [0, *range(max(1, t - CONTEXT), t)]
        labels.append(_nearest_labels(looks[t], looks[context], torch.stack([labels[i] for i in context]), near))
    return torch.stack(labels).unflatten(2, (height, width))


def _nearest_labels(look: Tensor, looks: Tensor, labels: Tensor, near: Tensor) -> Tensor:
    """Labels (K,n) of the patches `look` (C,n) from frames with looks (F,C,n) and labels (F,K,n).

    Only the best of every frame are held at a time: likeness of all pairs of patches is the largest array.
    """
    best, found = [], []
    for other, label in zip(looks, labels):
        likeness = (look.T @ other).masked_fill(~near, -torch.inf)  # (n,n)
        top, index = likeness.topk(min(NEAREST, likeness.shape[1]), dim=1)
        best.append(top)
        found.append(label[:, index])  # (K,n,nearest)
    likeness, choice = torch.cat(best, 1).topk(min(NEAREST, looks.shape[2]), dim=1)
    label = torch.cat(found, 2).gather(2, choice.expand(labels.shape[1], -1, -1))
    return (label * (likeness / TEMPERATURE).softmax(1)).sum(2)


def _near(height: int, width: int, device: torch.device) -> Tensor:
    """(n,n): patches at most RADIUS apart."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    place = torch.stack([y.flatten(), x.flatten()], 1)
    return (place[:, None] - place).square().sum(2) <= RADIUS**2


def patch_masks(features: Tensor, first: Tensor) -> Tensor:
    """Rough masks (T,1,h,w) of 0 and 1, of a clip's features (T,C,h,w) and the object's mask in its first frame.

    Soft labels of object and background are each stretched to 0..1 in every frame before the larger one wins, as
    the original does; the object is nowhere in a frame without difference.

    Args:
        first: (1,H,W) 0 or 1.
    """
    share = F.interpolate(first[None].float(), size=features.shape[-2:], mode="area")[0]
    soft = carry_labels(features, torch.cat([1 - share, share]))
    low, high = soft.amin((-2, -1), keepdim=True), soft.amax((-2, -1), keepdim=True)
    stretched = (soft - low) / (high - low).clamp(min=TINY)
    return (stretched[:, 1:] > stretched[:, :1]).float()


class EncoderFeatures:
    """The top features of a RobotSeg or SAM 2 network's image encoder, frozen as it is now. A `Features`."""

    def __init__(self, network: nn.Module):
        self.encoder = copy.deepcopy(network.image_encoder).eval().requires_grad_(False)  # type: ignore[union-attr]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(N,256,H/16,W/16)."""
        return self.encoder(pictures)["vision_features"]
