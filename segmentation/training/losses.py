"""Losses over softmax scores: cross entropy plus Dice of the whole robot and of the gripper over the batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

GRIPPER_WEIGHT = 3.0  # grippers are small: without it their output collapses to zero
IGNORED = 255


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of a soft mask over the whole batch (a picture without the part does not push it to zero)."""
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + 1) / (probability.sum() + target.sum() + 1)


def segmentation_loss(scores: Tensor, part: Tensor) -> Tensor:
    """scores (B,3,H,W), part (B,H,W) int64: 0 background, 1 arm, 2 gripper, 255 nobody knows and nothing is asked."""
    scores = scores.float()
    weight = scores.new_tensor([1.0, 1.0, GRIPPER_WEIGHT])
    known = (part != IGNORED).float()
    entropy = F.cross_entropy(scores, part, weight=weight, label_smoothing=0.02, ignore_index=IGNORED)
    p = scores.softmax(1) * known[:, None]
    robot = soft_dice(p[:, 1] + p[:, 2], ((part > 0).float() * known))
    gripper = soft_dice(p[:, 2], (part == 2).float())
    return entropy + robot + 0.5 * gripper
