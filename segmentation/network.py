"""The compact segmenter: EfficientNet-Lite0 features, a light U-Net on top, softmax over background, arm and gripper.

Encoder: Tan and Le, "EfficientNet" (2019), Lite0 variant (no squeeze-excite, ReLU6), with TensorFlow's "same" padding
so that the published ImageNet weights fit.

Memory: the decoder also reads the frame before's answer (Perazzi et al., "MaskTrack", 2017, gave it to the encoder;
here the encoder stays the pretrained one and sees pictures only).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = ("background", "arm", "gripper")
STRIDE = 32  # images must be multiples of it
STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SKIPS = (0, 1, 2, 4, 6)  # stages whose outputs have strides 2, 4, 8, 16, 32
DECODER = (96, 64, 48, 24)  # channels at strides 16, 8, 4, 2
PRIOR = 3  # channels of the memory: arm, gripper, and whether there is one


class ConvNorm(nn.Module):
    """Convolution with "same" padding, batch norm, and ReLU6 unless `active` is False."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ):
        super().__init__()
        # TensorFlow pads an even image by one less at the front when it strides by 2
        self.pad = (kernel // 2 - 1, kernel // 2) * 2 if stride == 2 else None
        padding = 0 if stride == 2 else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        if self.pad is not None:
            x = F.pad(x, self.pad)
        if self.conv.groups > 1 and torch.is_autocast_enabled("cpu"):
            # on CPUs the gradient of a depthwise convolution is faster in single precision
            with torch.autocast("cpu", enabled=False):
                x = self.norm(self.conv(x.float()))
        else:
            x = self.norm(self.conv(x))
        return F.relu6(x) if self.active else x

    def fuse(self) -> None:
        """Fold the batch norm into the convolution (evaluation only; the result is the same)."""
        norm = self.norm
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None:
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.conv.weight.data = self.conv.weight * gain[:, None, None, None]
            self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
            self.norm = nn.Identity()


class InvertedResidual(nn.Module):
    """MobileNet's block: widen, filter each channel, narrow, add."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """Features at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        stages, inputs = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = self.stem(x), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in SKIPS:
                features.append(x)
        return features


class RobotNet(nn.Module):
    """Class scores of pictures, helped by the answer for the frame before where there is one. 3.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        channels = [STAGES[i][4] for i in SKIPS]
        self.context = ConvNorm(channels[-1], 128)
        self.scene = nn.Linear(channels[-1], 128)  # the whole picture's say: is there a robot, of what colour
        self.widen = ConvNorm(128, 128, 3)
        levels: list[nn.Sequential] = []
        memory, inputs = [nn.Conv2d(PRIOR, 128, 1, bias=False)], 128
        for skip, outputs in zip(reversed(channels[:-1]), DECODER):
            levels.append(nn.Sequential(ConvNorm(inputs + skip, outputs), ConvNorm(outputs, outputs, 3)))
            memory.append(nn.Conv2d(PRIOR, outputs, 1, bias=False))
            inputs = outputs
        self.levels = nn.ModuleList(levels)
        self.memory = nn.ModuleList(memory)  # at strides 32, 16, 8, 4, 2
        for layer in memory:
            nn.init.zeros_(layer.weight)
        self.head = nn.Conv2d(inputs, len(CLASSES), 3, padding=1)

    def forward(self, image: Tensor, prior: Tensor | None = None) -> Tensor:
        """Scores (B,3,H,W) over `CLASSES`.

        image: (B,3,H,W) float RGB in 0..255; H and W multiples of `STRIDE`.
        prior: (B,3,H,W): probability of arm and of gripper in the frame before, and ones; all zero: no such frame.
        """
        features = self.encoder((image - 127.0) / 128.0)
        deepest = features.pop()
        recalled = [] if prior is None else _pyramid(prior, self.memory)
        x = self.context(deepest) + self.scene(deepest.mean((2, 3)))[:, :, None, None]
        x = self.widen(x + recalled[0] if recalled else x)
        for i, level in enumerate(self.levels):
            mix, refine = level.children()
            skip = features.pop()
            x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = mix(torch.cat([x, skip], 1))
            x = refine(x + recalled[i + 1] if recalled else x)
        return F.interpolate(self.head(x), size=image.shape[2:], mode="bilinear", align_corners=False)

    def fuse(self) -> RobotNet:
        """Fold every batch norm into its convolution, for inference."""
        with torch.no_grad():
            for module in list(self.modules()):
                if isinstance(module, ConvNorm):
                    module.fuse()
        return self


def _pyramid(prior: Tensor, layers: nn.ModuleList) -> list[Tensor]:
    """The memory as the decoder's levels read it, from stride 32 to stride 2; at each the mean of the one finer."""
    levels, x = [], prior
    for layer in reversed(layers):
        x = F.avg_pool2d(x, 2)
        levels.append(layer(x))
    return levels[::-1]


def save_weights(network: RobotNet, path: Path) -> None:
    """Write the weights as a half-precision state dict; the file appears whole or not at all."""
    state = {
        k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items() if "num_batches" not in k
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
