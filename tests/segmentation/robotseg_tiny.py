"""RobotSeg, SAM 2 and sam2's own predictor with drawn weights, small enough for tests of what a predictor does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from robotseg_reference import drawn_frame, drawn_weights

SIZE = 128
HEIGHT, WIDTH = 96, 128


def tiny_robotseg() -> Any:
    """RobotSegPredictor at 128x128 whose runs are repeatable."""
    from segmentation.robotseg.behaviour import Behaviour
    from segmentation.robotseg.build import build_robotseg, skeleton

    weights = drawn_weights(skeleton("robotseg", SIZE))
    return remembering(
        build_robotseg(weights, size=SIZE, behaviour=Behaviour(random_start=False, keep_corrections=True))
    )


def sam2_weights(robotseg: Any) -> dict[str, torch.Tensor]:
    """RobotSeg's weights that SAM 2.1 tiny has too."""
    from segmentation.robotseg.build import skeleton

    own = robotseg.state_dict()
    return {name: own[name] for name in skeleton("sam2.1_hiera_t", SIZE).state_dict()}


def original_sam2(weights: dict[str, torch.Tensor]) -> Any:
    """sam2's own video predictor, as its `build_sam2_video_predictor` makes it but for filling holes (needs CUDA).

    Without autocast it fails where all memories are bfloat16, on frames before an object's first prompt.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    text = resources.files("sam2").joinpath("configs/sam2.1/sam2.1_hiera_t.yaml").read_text(encoding="utf8")
    config = OmegaConf.create(text).model
    config._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    config.image_size = SIZE
    config.binarize_mask_from_pts_for_mem_enc = True
    config.sam_mask_decoder_extra_args = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    model = instantiate(config, _recursive_=True)
    model.load_state_dict(weights)
    model.memory_attention.register_forward_pre_hook(
        lambda _, arguments, named: (arguments, {**named, "memory": named["memory"].float()}), with_kwargs=True
    )
    return model.eval()


def remembering(predictor: Any, like: Any = None) -> Any:
    """Lets the image encoder, the slowest part, run once for equal pictures; `predictor.encoded` counts all calls.

    Args:
        like: a predictor with the same encoder, whose results are used as well.
    """
    run = predictor.forward_image
    known = predictor.known = {} if like is None else like.known
    predictor.encoded = 0

    def forward_image(image: torch.Tensor) -> dict:
        predictor.encoded += 1
        key = image.numpy().tobytes()
        if key not in known:
            known[key] = run(image)
        return {name: list(value) if isinstance(value, list) else value for name, value in known[key].items()}

    predictor.forward_image = forward_image
    return predictor


def video(count: int) -> list[np.ndarray]:
    """Frames (96,128,3) of an arm that moves to and fro."""
    return [np.array(Image.open(BytesIO(_jpeg(_place(t))))) for t in range(count)]


def write_video(count: int, folder: Path) -> str:
    """The same frames as files that sam2 reads; gives the folder."""
    for t in range(count):
        (folder / f"{t:05d}.jpg").write_bytes(_jpeg(_place(t)))
    return str(folder)


def _place(t: int) -> int:
    return min(t % 16, 16 - t % 16)


@cache
def _jpeg(t: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(drawn_frame(t)[0][128:896:8, ::8])).save(file, "JPEG", quality=95)
    return file.getvalue()


def masks(steps: Iterable[tuple[int, list, torch.Tensor]]) -> dict[int, torch.Tensor]:
    """Logits (objects,1,H,W) by frame, in the order they came."""
    return {t: logits for t, _, logits in steps}


def same(a: dict[int, torch.Tensor], b: dict[int, torch.Tensor]) -> bool:
    """The same frames in the same order with the same logits to the last bit."""
    return list(a) == list(b) and all(torch.equal(a[t], b[t]) for t in a)
