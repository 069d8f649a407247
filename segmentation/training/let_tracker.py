"""RobotSeg forward through a clip with gradients, prompted as LET prompts it (arXiv 2511.22950)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segmentation.robotseg.edges import edge_gain
from segmentation.robotseg.memory import read_memory
from segmentation.robotseg.pictures import unnormalised
from segmentation.robotseg.predictor import RobotSegPredictor
from segmentation.training.let_prompts import CORRECTIONS, Points, box_points, click_points, correction_points


@dataclass
class Tracked:
    """What the network says of one frame of B objects.

    Attributes:
        features: the encoder's at its lowest resolution (B,C,h,w).
        masks, ious, best, scores: a value for every decoding of the frame: masks offered (B,M,H,W) as logits and their
            predicted IoU (B,M); the one with the highest (B,1,H,W); logit of "the object shows" (B,1). None at all
            where a given mask was taken as it is.
        structure: logits of the outline maps (B,layers,h,w) where memories were read.
    """

    features: Tensor
    masks: list[Tensor] = field(default_factory=list)
    ious: list[Tensor] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    structure: Tensor | None = None


@dataclass(frozen=True)
class _Encoded:
    """One frame's features as sam2 hands them on: (hw,B,C) per level, their positions, and sizes."""

    features: list[Tensor]
    positions: list[Tensor]
    sizes: list[tuple[int, int]]

    def maps(self) -> list[Tensor]:
        """(B,C,h,w) per level, the finest first."""
        return [x.permute(1, 2, 0).unflatten(2, size) for x, size in zip(self.features, self.sizes)]


class Tracker:
    """Follows one clip.

    Args:
        parts: row of every object's class token, see `segmentation.robotseg.decoder.PARTS`.
        kind: of prompt, see `draw_kind`.
        truth, valid: masks (B,1,H,W) of the first frame and where they are known, floats 0 or 1.
        rng: for clicks.
    """

    def __init__(
        self, model: RobotSegPredictor, parts: Sequence[int], kind: str, truth: Tensor, valid: Tensor,
        rng: np.random.Generator,
    ):  # fmt: skip
        self.model, self.kind, self.truth, self.valid, self.rng = model, kind, truth, valid, rng
        self.parts = torch.tensor(parts, device=truth.device)
        self.outputs: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def track(self, pictures: Tensor) -> list[Tracked]:
        """All frames of normalised pictures (T,B,3,H,W), in order."""
        count, batch = pictures.shape[:2]
        _, features, positions, sizes = self.model._prepare_backbone_features(
            self.model.forward_image(pictures.flatten(0, 1))
        )
        tracked = []
        try:
            for t in range(count):
                own = slice(t * batch, (t + 1) * batch)
                frame = _Encoded([x[:, own] for x in features], [x[:, own] for x in positions], sizes)
                tracked.append(self._frame(t, count, pictures[t], frame))
        finally:
            self.model.sam_mask_decoder.robot_tokens = None
        return tracked

    def _frame(self, t: int, count: int, picture: Tensor, frame: _Encoded) -> Tracked:
        *fine, top = frame.maps()
        found = Tracked(top)
        points = None
        if t == 0 and self.kind == "mask":
            decoded = self.model._use_mask_as_output(top, fine, self.truth)
        else:
            conditioned, found.structure = self._conditioned(t, count, picture, frame)
            points = self._prompt() if t == 0 else None
            decoded = self._decode(found, conditioned, fine, points, None, first=t == 0)
            if points is not None:
                self.model.sam_mask_decoder.robot_tokens = None  # the original corrects without them
                for _ in range(CORRECTIONS):
                    guess = decoded[4].detach() > 0
                    points = points.joined(correction_points(self.rng, self.truth, self.valid, guess))
                    decoded = self._decode(found, conditioned, fine, points, decoded[3], first=True)
        if t < count - 1:
            self._remember(t, frame, decoded, points is not None)
        return found

    def _prompt(self) -> Points | None:
        if self.kind == "automatic":
            return None
        return (box_points if self.kind == "box" else click_points)(self.rng, self.truth)

    def _conditioned(self, t: int, count: int, picture: Tensor, frame: _Encoded) -> tuple[Tensor, Tensor | None]:
        """Features (B,C,h,w) that know of earlier frames; the decoder gets class and object tokens."""
        model, size, structure = self.model, frame.sizes[-1], None
        top = frame.features[-1]
        batch = top.shape[1]
        if t == 0:
            objects = model.robot_prompt_generator([], [], batch)
            seen = top + model.no_mem_embed
        else:
            own = model.behaviour
            memory = read_memory(model, self.outputs, t, count, reverse=False)
            image = picture if own.edges_of_normalised else unnormalised(picture)
            seen, structure = model.memory_attention(
                curr=top,
                curr_pos=frame.positions[-1],
                memory=memory.tokens,
                memory_pos=memory.positions,
                num_obj_ptr_tokens=memory.pointers,
                edges=edge_gain(image, size, own.edges, rescale_bright=own.edges_of_normalised),
            )
            objects = model.robot_prompt_generator(memory.frames, memory.foregrounds, batch)
        token = model.sam_mask_decoder.robot_token_embedding(self.parts)[:, None]
        model.sam_mask_decoder.robot_tokens = torch.cat([token, objects.to(token.dtype)], 1)
        return seen.permute(1, 2, 0).unflatten(2, size), structure

    def _decode(
        self, found: Tracked, features: Tensor, fine: list[Tensor], points: Points | None, before: Tensor | None,
        first: bool,
    ) -> tuple:  # fmt: skip
        """One run of the decoder, noted in `found`; gives what sam2's heads give."""
        inputs = None if points is None else points.inputs()
        decoded = self.model._forward_sam_heads(
            backbone_features=features,
            point_inputs=inputs,
            mask_inputs=before,
            high_res_features=fine,
            multimask_output=self.model._use_multimask(first, inputs),
        )
        _, masks, ious, _, best, _, score = decoded
        found.masks.append(masks)
        found.ious.append(ious)
        found.best.append(best)
        found.scores.append(score)
        return decoded

    def _remember(self, t: int, frame: _Encoded, decoded: tuple, pointed: bool) -> None:
        _, _, _, low, high, pointer, score = decoded
        features, positions = self.model._encode_new_memory(
            current_vision_feats=frame.features,
            feat_sizes=frame.sizes,
            pred_masks_high_res=high,
            object_score_logits=score,
            is_mask_from_pts=pointed,
        )
        kind = "cond_frame_outputs" if t == 0 else "non_cond_frame_outputs"
        self.outputs[kind][t] = {
            "maskmem_features": features,
            "maskmem_pos_enc": positions,
            "pred_masks": low.detach(),
            "obj_ptr": pointer,
        }
