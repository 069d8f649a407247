"""At which sizes a network looks at a frame, and one answer from several looks.

A network misses robots much larger or smaller than those it learned from. It can look at several sizes, some of them
mirrored, and average the answers, as is standard practice (Krizhevsky et al. 2012; Chen et al., "DeepLab", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Look:
    """One look: pixels the network sees, and whether left and right are swapped."""

    area: int
    mirrored: bool = False


@dataclass(frozen=True)
class Looks:
    """Which looks are taken.

    Attributes:
        near, far: of a robot that fills more, and less, than `share` of the picture.
        first: of a new scene, to see how much it fills.
    """

    near: tuple[Look, ...]
    far: tuple[Look, ...]
    first: tuple[Look, ...]
    share: float

    def of(self, soft: torch.Tensor) -> tuple[Look, ...]:
        """Those for a picture with these probabilities (3,h,w) of background, arm, gripper."""
        return self.far if float((soft[0] < 0.5).float().mean()) < self.share else self.near


_SIZES = (Look(192 * 256), Look(256 * 320, True), Look(320 * 416), Look(480 * 640, True))
SEVERAL = Looks(_SIZES[:3], _SIZES[2:], _SIZES, 0.12)
SINGLE = Looks((Look(320 * 416),), (Look(480 * 640),), (Look(320 * 416),), 0.12)


def blend(answers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean of probabilities (3,h,w) of background, arm, gripper, at the size of the largest answer."""
    size = max((answer.shape[1:] for answer in answers), key=lambda shape: shape[0] * shape[1])
    return torch.stack([_sized(answer, size) for answer in answers]).mean(0)


def _sized(answer: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return answer if answer.shape[1:] == size else F.interpolate(answer[None], size, mode="bilinear")[0]
