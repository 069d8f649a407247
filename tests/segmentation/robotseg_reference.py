"""The original RobotSeg's numerical reference: its weights and video from a recipe, its cases, and what we compare.

The weights are drawn key by key from a counter-based generator seeded by the key's name, so that nobody needs the
released file; the video is drawn with integers alone. The original ran on both, and its outputs are kept in npz files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

SHARED = Path(os.environ.get("URDFIT_SHARED", Path(__file__).parents[3] / "shared")) / "robotseg"
SMALL = Path(__file__).parent / "robotseg_small.npz"  # samples of some cases, for everywhere
SIZE = 1024
UNIT = (
    "iou_token.weight", "mask_tokens.weight", "obj_score_token.weight", "robot_token_embedding.weight",
    "not_a_point_embed.weight", "no_mask_embed.weight", "no_memory_prompt_embeddings_fg.weight",
)  # fmt: skip


def drawn_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A state dict for the model, from the names and shapes of its own."""
    return {name: _draw(name, tuple(value.shape)) for name, value in model.state_dict().items()}


def _draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    seed = int.from_bytes(hashlib.sha256(name.encode("ascii")).digest()[:16], "big")
    normal = np.random.Generator(np.random.Philox(key=seed)).standard_normal(size=shape)
    offset, scale = _rule(name, shape)
    return torch.from_numpy(np.asarray(offset + scale * normal, np.float32))


def _rule(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    fan_in = np.prod(shape) / shape[0] if shape else 1.0
    rules: list[tuple[bool, float, float]] = [
        (name == "sam_mask_decoder.pred_obj_score_head.layers.2.bias", 4.0, 0.0),
        (name.endswith("positional_encoding_gaussian_matrix"), 0.0, 1.0),
        (name.endswith("structure_strength"), 1.0, 0.1),
        (name.endswith(".gamma"), 0.5, 0.1),
        (name.endswith(".bias"), 0.0, 0.05),
        (len(shape) == 1 and name.endswith(".weight"), 1.0, 0.1),
        (name.endswith(UNIT) or ".point_embeddings." in name, 0.0, 1.0),
        ("." not in name or name.endswith(("pos_embed", "pos_embed_window")), 0.0, 0.2),
        (name.endswith("structure_head.weight"), 0.0, 2 / np.sqrt(fan_in)),
    ]
    return next(((o, s) for applies, o, s in rules if applies), (0.0, 1 / np.sqrt(fan_in)))


def drawn_frame(t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (1024,1024,3) uint8 and the masks of arm and gripper in frame t."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack(
        [
            40 + (5 * x + 3 * y) // 64,
            30 + ((x // 8) ^ (y // 8)),
            50 + (7 * y) // 64 + 20 * ((x // 64 + y // 64) % 2),
        ],
        -1,
    )
    wx, wy = 640 + 12 * t, 420 - 8 * t
    elbow, tool = (420, 600), (wx + 60, wy + 20)
    gripper = (
        _capsule(x, y, (wx, wy), tool, 16)
        | _capsule(x, y, tool, (wx + 110, wy - 5 + 4 * t), 10)
        | _capsule(x, y, tool, (wx + 110, wy + 65 - 4 * t), 10)
    )
    arm = (_capsule(x, y, (300, 900), elbow, 48) | _capsule(x, y, elbow, (wx, wy), 36)) & ~gripper
    shade = ((x + 2 * y + 16 * t) % 48)[..., None]
    image = np.where(arm[..., None], np.array([200, 110, 30]) + shade // 2, image)
    image = np.where(gripper[..., None], np.array([225, 225, 230]) + shade // 4, image)
    return image.astype(np.uint8), arm, gripper


def _capsule(x: np.ndarray, y: np.ndarray, a: tuple[int, int], b: tuple[int, int], r: int) -> np.ndarray:
    """Within r of the segment ab, in whole numbers."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    along, length = px * dx + py * dy, dx * dx + dy * dy
    before, after = along <= 0, along >= length
    cross = px * dy - py * dx
    beside = ~before & ~after & (cross * cross <= r * r * length)
    near_a = before & (px * px + py * py <= r * r)
    near_b = after & ((x - b[0]) ** 2 + (y - b[1]) ** 2 <= r * r)
    return beside | near_a | near_b


def drawn_video(variant: str = "plain", count: int = 9) -> list[np.ndarray]:
    """The frames; "dim" and "clip" are dark enough for the edge branch to be on."""
    frames = [drawn_frame(t)[0] for t in range(count)]
    if variant == "dim":
        return [(f.astype(np.int64) * 6 // 10).astype(np.uint8) for f in frames]
    return [np.minimum(f, 185) for f in frames] if variant == "clip" else frames


CLICK, OFF, TIP = (420, 600), (100, 100), (660, 430)
BOX = (252, 384, 761, 949)
Recorder = Callable[[str], None]


def run_case(predictor, name: str, frames: list[np.ndarray]) -> Iterator[tuple[str, dict]]:  # type: ignore[no-untyped-def]
    """Play a case; yields its steps' names ("prompt", "f0", ...) and the predictor's state."""
    part: str | None = name.split("_")[1]
    part = None if part == "noclass" else part
    steps = {"auto_robot_dim_9f": 9, "click1_arm": 3, "click1_noclass": 2, "click3_robot": 3}.get(name, 4)
    if name in ("auto_robot_nokornia", "auto_robot_fillholes8", "auto_robot_noobj"):
        steps = 3
    state = predictor.init_state(frames[:steps])
    if name.startswith(("auto", "interactive")):
        predictor.add_new_robot(state, 0, 0, part)
    elif name.startswith("click"):
        clicks = [(CLICK, 1), (OFF, 0), (TIP, 1)][: 3 if name.startswith("click3") else 1]
        for n in range(1, len(clicks) + 1):
            points, labels = zip(*clicks[:n])
            predictor.add_new_points_or_box(state, 0, 0, np.array(points, np.float32), np.array(labels), part=part)
            if len(clicks) > 1:
                yield f"prompt{n}", state
    elif name.startswith("box"):
        predictor.add_new_points_or_box(state, 0, 0, box=np.array(BOX, np.float32), part=part)
    else:
        _, arm, gripper = drawn_frame(0)
        predictor.add_new_mask(state, 0, 0, arm | gripper)
    yield "prompt", state
    if name == "auto_robot_seed1234":
        torch.manual_seed(1234)
    if name.startswith("interactive"):
        for t, _, _ in predictor.propagate_in_video(state, max_frame_num_to_track=2, part=part):
            yield f"f{t}", state
        predictor.add_new_points_or_box(state, 2, 0, [CLICK], [1], part=part)
        yield "f2click1", state
        predictor.add_new_points_or_box(state, 2, 0, [CLICK, (900, 200)], [1, 0], part=part)
        yield "f2click2", state
        predictor.propagate_in_video_preflight(state)
        yield "f2final", state
        for _ in predictor.propagate_in_video(state, start_frame_idx=3, max_frame_num_to_track=0, part=part):
            yield "f3", state
        return
    for t, _, _ in predictor.propagate_in_video(state, max_frame_num_to_track=steps - 1, part=part):
        yield f"f{t}", state
