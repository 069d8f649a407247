"""Which past frames a frame attends to, and the tokens they become: sam2's memory bank, as RobotSeg reads it.

Ravi et al., "SAM 2" (2024), section 4: all prompted frames, the last frames before this one, and object pointers.
RobotSeg also wants to know which memory tokens lie on the robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe, select_closest_cond_frames
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

Output = dict[str, Any]  # what sam2 stores of a frame


@dataclass(frozen=True)
class Memory:
    """Tokens of all memories, spatial ones first.

    Attributes:
        tokens, positions: (M,B,64).
        frames, foregrounds: the spatial tokens (N,B,64) frame by frame, and which lie on the robot (N,B).
        pointers: how many of the last tokens are object pointers.
    """

    tokens: Tensor
    positions: Tensor
    frames: list[Tensor]
    foregrounds: list[Tensor]
    pointers: int


def read_memory(
    model: SAM2Base, outputs: dict[str, dict[int, Output]], frame: int, num_frames: int, reverse: bool
) -> Memory:
    """Collect what `frame` may attend to.

    Args:
        outputs: sam2's "cond_frame_outputs" and "non_cond_frame_outputs".
        num_frames: length of the video; short ones scale the pointers' time differently (as in sam2).
        reverse: the video is tracked backwards.
    """
    prompted, others = select_closest_cond_frames(frame, outputs["cond_frame_outputs"], model.max_cond_frames_in_attn)
    spatial = spatial_memories(model, prompted, outputs["non_cond_frame_outputs"], others, frame, reverse)
    device = model.device
    frames, positions, foregrounds = [], [], []
    for slot, output in spatial:
        features = output["maskmem_features"].to(device, non_blocking=True)
        size = features.shape[-2:]
        place = output["maskmem_pos_enc"][-1].to(device).flatten(2).permute(2, 0, 1)
        frames.append(features.flatten(2).permute(2, 0, 1))
        positions.append(place + model.maskmem_tpos_enc[slot])
        foregrounds.append(foreground(output["pred_masks"].to(device), size))
    tokens, places = torch.cat(frames), torch.cat(positions)
    pointed = pointer_memories(model, prompted, outputs["non_cond_frame_outputs"], others, frame, num_frames, reverse)
    count = 0
    if pointed:
        pointers, times = pointer_tokens(model, pointed, min(num_frames, model.max_obj_ptrs_in_encoder))
        tokens, places = torch.cat([tokens, pointers]), torch.cat([places, times])
        count = pointers.shape[0]
    dtype = model.maskmem_tpos_enc.dtype
    return Memory(tokens.to(dtype), places, [f.to(dtype) for f in frames], foregrounds, count)


def spatial_memories(
    model: SAM2Base,
    prompted: dict[int, Output],
    tracked: dict[int, Output],
    others: dict[int, Output],
    frame: int,
    reverse: bool,
) -> list[tuple[int, Output]]:
    """(slot of the temporal encoding, output): prompted frames, then the last ones from the oldest on."""
    last = model.num_maskmem - 1
    found = [(last, output) for output in prompted.values()]
    stride = model.memory_temporal_stride_for_eval
    for back in range(last, 0, -1):
        if back == 1 or stride == 1:
            past = frame + back if reverse else frame - back
        elif reverse:
            past = -(-(frame + 2) // stride) * stride + (back - 2) * stride
        else:
            past = (frame - 2) // stride * stride - (back - 2) * stride
        output = tracked.get(past, others.get(past))
        if output is not None:
            found.append((back - 1, output))
    return found


def pointer_memories(
    model: SAM2Base,
    prompted: dict[int, Output],
    tracked: dict[int, Output],
    others: dict[int, Output],
    frame: int,
    num_frames: int,
    reverse: bool,
) -> list[tuple[int, Tensor]]:
    """(frames ago, object pointer (B,256)) of prompted frames in the past and of the last frames."""
    sign = -1 if reverse else 1
    found = []
    for t, output in prompted.items():
        ago = (frame - t) * sign
        if ago >= 0 or not model.only_obj_ptrs_in_the_past_for_eval:
            found.append((ago if model.use_signed_tpos_enc_to_obj_ptrs else abs(ago), output["obj_ptr"]))
    for ago in range(1, min(num_frames, model.max_obj_ptrs_in_encoder)):
        t = frame - ago * sign
        if not 0 <= t < num_frames:
            break
        past = tracked.get(t, others.get(t))
        if past is not None:
            found.append((ago, past["obj_ptr"]))
    return found


def pointer_tokens(model: SAM2Base, pointed: list[tuple[int, Tensor]], longest: int) -> tuple[Tensor, Tensor]:
    """Each pointer cut into tokens of the memory's width, and the encoding of its time: (4n,B,64) both."""
    pointers = torch.stack([pointer for _, pointer in pointed])
    count, batch, channels = pointers.shape
    parts = channels // model.mem_dim
    tokens = pointers.reshape(count, batch, parts, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
    ago = torch.tensor([t for t, _ in pointed], device=pointers.device)
    times = tokens.new_zeros(count, model.mem_dim)
    if model.add_tpos_enc_to_obj_ptrs:
        width = channels if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
        times = model.obj_ptr_tpos_proj(get_1d_sine_pe(ago / max(longest - 1, 1), dim=width))
    return tokens, times[:, None].expand(-1, batch, -1).repeat_interleave(parts, 0)


def foreground(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Memory tokens on the robot (N,B) bool, of mask logits (B,1,h,w) and the memory's (H,W)."""
    probability = F.interpolate(logits.float().sigmoid(), size=size, mode="bilinear", align_corners=False)
    return (probability >= 0.5).flatten(2).permute(2, 0, 1)[..., 0]
