"""The optimizer that RobotSeg is trained with: AdamW with smaller steps for earlier layers of the image encoder.

Layer-wise decay as in Clark et al., "ELECTRA" (2020), and SAM 2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import nn

TRUNK = "image_encoder.trunk."
_BLOCK = re.compile(re.escape(TRUNK) + r"blocks\.(\d+)\.")


@dataclass(frozen=True)
class OptimizerSettings:
    """Learning rates at the start, of the image encoder and of all else; the last is `final` times as large."""

    rate: float = 3e-4
    encoder_rate: float = 6e-5
    final: float = 0.1
    layer_decay: float = 0.9
    weight_decay: float = 0.1


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over all parameters; biases and layer norms do not decay."""
    norms = {id(p) for m in network.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = settings.encoder_rate if name.startswith("image_encoder.") else settings.rate
        rate *= layer_factor(name, settings.layer_decay, len(network.image_encoder.trunk.blocks))  # type: ignore[union-attr, arg-type]
        decay = 0.0 if name.endswith("bias") or id(parameter) in norms else settings.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW([{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()])


def layer_factor(name: str, decay: float, blocks: int) -> float:
    """decay to the power of the layers above a parameter of the encoder's trunk; 1 for all others.

    The last block has one layer above, its end; position embeddings are not slowed.
    """
    if not name.startswith(TRUNK) or "pos_embed" in name:
        return 1.0
    block = _BLOCK.match(name)
    if block:
        return decay ** (blocks - int(block[1]))
    return decay ** (blocks + 1) if name.startswith(TRUNK + "patch_embed.") else 1.0


def cosine(step: int, steps: int, final: float) -> float:
    """From 1 down to `final` over half a cosine (Loshchilov and Hutter, 2017)."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / steps))
