"""Linear layers by oneDNN, which adds the bias and applies the activation while the product is still in the cache.

torch does so itself only in compiled models, which need a C++ compiler; its own linear layer fills the output with the
bias first, and the activation reads and writes it twice more. On two cores RobotSeg's image encoder gains a fifth.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam2_utils import MLP
from torch import Tensor, nn
from torch.nn import functional as F

_fused = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
ACTIVATIONS = {nn.GELU: "gelu", nn.ReLU: "relu"}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """activation(x @ weight.T + bias); activation: none, gelu or relu. By oneDNN where it can, else by torch."""
    if (
        _fused is None
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or x.numel() == 0
    ):
        y = F.linear(x, weight, bias)
        return F.gelu(y) if activation == "gelu" else F.relu(y) if activation == "relu" else y
    return _fused(x, weight, bias, activation, [], "none")


class FusedLinear(nn.Linear):
    """nn.Linear by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class FusedMLP(MLP):
    """sam2's MLP by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[type(self.act)]
        for layer in self.layers[:-1]:
            x = linear(x, layer.weight, layer.bias, activation)
        last = self.layers[-1]
        x = linear(x, last.weight, last.bias)
        return x.sigmoid() if self.sigmoid_output else x


def fuse_linears(model: nn.Module) -> None:
    """Make every linear layer and MLP of a model one of the above; weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FusedLinear
        elif type(module) is MLP and type(module.act) in ACTIVATIONS:
            module.__class__ = FusedMLP
