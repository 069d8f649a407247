"""The one place where a segmenter is chosen, and the built-in one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from segmentation.errors import WeightsError
from segmentation.network import STRIDE, RobotNet

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "default.pt"
LATER = {"robotseg": "the RobotSeg network", "sam2": "SAM 2"}
NEAR_AREA, FAR_AREA = 320 * 416, 480 * 640  # pixels the network sees; pictures are shrunk or enlarged to them
FAR_SHARE = 0.12  # of the picture is robot: below this it is far away


class Segmenter(Protocol):
    """Finds robots in frames. `parts` are the masks it gives."""

    parts: tuple[str, ...]

    def segment(self, frames: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """One dict part -> (H,W) float32 probability for every (H,W,3) uint8 RGB frame, in order, as they
        come."""


def load_segmenter(name: str | Path = "default", device: str = "cpu") -> Segmenter:
    """The segmenter of that name: "default" (ships with the package) or a path to weights trained here.

    Raises:
        WeightsError: an unknown name, a missing file, or a file that holds no weights of this network.
        Files are
            read as plain tensors: one that wants to run code is refused.
    """
    text = str(name)
    if text.lower() in LATER:
        raise WeightsError(
            f"weights {text!r}: {LATER[text.lower()]} is not available in this version; use 'default' or a path"
        )
    path = DEFAULT_WEIGHTS if text == "default" else Path(text)
    if not path.is_file():
        raise WeightsError(f"weights {text!r}: neither 'default' nor an existing file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError):
        raise WeightsError(
            f"{path}: no weights file, damaged, or one that would run code; expected a state dict"
        ) from None
    network = RobotNet()
    expected = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no state dict of tensors")
    shapes = {k: v.shape for k, v in state.items() if not str(k).endswith("num_batches_tracked")}
    if shapes != expected:
        wrong = sorted(str(k) for k in set(shapes) ^ set(expected)) or [k for k in expected if shapes[k] != expected[k]]
        raise WeightsError(f"{path}: weights of another network ({len(wrong)} tensors differ, first {wrong[0]})")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    if not all(torch.isfinite(v).all() for v in network.state_dict().values()):
        raise WeightsError(f"{path}: some weights are not finite numbers")
    return NetworkSegmenter(network, device)


class NetworkSegmenter:
    """The compact network, frame by frame; `robot` is the union of `arm` and `gripper`.

    The network knows robots of a certain size: a robot that fills the picture is best seen small, one that is far
    away large. So the size at which it looks follows the share of the picture that was robot in the frame before.
    """

    parts: tuple[str, ...] = ("robot", "arm", "gripper")

    def __init__(self, network: RobotNet, device: str = "cpu"):
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if _bfloat16_is_fast(self.device) else torch.float32
        network = network.eval().fuse().to(self.device, self.dtype)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def segment(self, frames: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """See `Segmenter.segment`."""
        area = None
        for frame in frames:
            if area is None:
                area = _area(self.probabilities(frame))
            probability = self.probabilities(frame, area)
            area = _area(probability)
            yield {"robot": probability[1:].sum(0), "arm": probability[1], "gripper": probability[2]}

    @torch.inference_mode()
    def probabilities(self, frame: np.ndarray, area: int = NEAR_AREA) -> np.ndarray:
        """Softmax (3,H,W) float32 over background, arm, gripper of one (H,W,3) uint8 RGB frame.

        area: pixels the network sees.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be (H,W,3) uint8 RGB, got {frame.shape} {frame.dtype}")
        height, width = frame.shape[:2]
        h, w = network_size(height, width, area)
        method = cv2.INTER_AREA if h * w < height * width else cv2.INTER_LINEAR
        small = cv2.resize(frame, (w, h), interpolation=method)
        image = torch.from_numpy(np.ascontiguousarray(small))[None].to(self.device).permute(0, 3, 1, 2)
        image = image.to(self.dtype).contiguous(memory_format=torch.channels_last)
        soft = self.network(image).float().softmax(1)
        full = cv2.resize(soft[0].permute(1, 2, 0).cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(full.transpose(2, 0, 1))


def _area(probability: np.ndarray) -> int:
    """Pixels the network should see of a picture with these probabilities (3,H,W)."""
    return FAR_AREA if float((probability[0] < 0.5).mean()) < FAR_SHARE else NEAR_AREA


def network_size(height: int, width: int, area: int = NEAR_AREA) -> tuple[int, int]:
    """Input size nearest the picture's shape with about `area` pixels, multiples of 32 (height, width)."""
    scale = (area / (height * width)) ** 0.5
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width))  # type: ignore[return-value]


def _bfloat16_is_fast(device: torch.device) -> bool:
    """Half the bits only help where the processor computes with them; elsewhere they are emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if os.environ.get("URDFIT_FLOAT32"):
        return False
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(capability())
