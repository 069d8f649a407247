"""RobotSeg's video predictor: sam2's, with automatic prompts and parts."""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor

from segmentation.robotseg.behaviour import FAITHFUL, Behaviour
from segmentation.robotseg.decoder import PARTS, RobotMaskDecoder
from segmentation.robotseg.edges import edge_gain
from segmentation.robotseg.generator import RobotPromptGenerator
from segmentation.robotseg.memory import read_memory
from segmentation.robotseg.pictures import unnormalised
from segmentation.robotseg.state import State
from segmentation.robotseg.streaming import HISTORY, Sam2Predictor, StreamingPredictor, fill_small_holes

__all__ = ["HISTORY", "RobotSegPredictor", "Sam2Predictor", "StreamingPredictor", "fill_small_holes"]


class RobotSegPredictor(StreamingPredictor):
    """RobotSeg (arXiv 2511.22950). Built by `build_robotseg`; methods are sam2's, plus `add_new_robot` and `part=`.

    An object has a part (arm, gripper, robot) or none; without it the decoder is that of SAM 2. A prompt's `part`
    becomes the object's; prompts without leave it as it is.
    """

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.robot_prompt_generator = RobotPromptGenerator(self.hidden_dim)
        self.set_behaviour(FAITHFUL)
        self._frame: tuple[State, int] | None = None
        self._part: str | None = None

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """What to do as the original does, and what better."""
        self.behaviour = behaviour
        self.fill_holes = behaviour.fill_holes
        self.keep_corrections = behaviour.keep_corrections
        self.robot_prompt_generator.random_start = behaviour.random_start

    def _build_sam_heads(self) -> None:
        super()._build_sam_heads()
        self.sam_mask_decoder = RobotMaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=self.hidden_dim, mlp_dim=2048, num_heads=8),
            transformer_dim=self.hidden_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
            use_high_res_features=self.use_high_res_features_in_sam,
            iou_prediction_use_sigmoid=self.iou_prediction_use_sigmoid,
            pred_obj_scores=self.pred_obj_scores,
            pred_obj_scores_mlp=self.pred_obj_scores_mlp,
            use_multimask_token_for_obj_ptr=self.use_multimask_token_for_obj_ptr,
            **(self.sam_mask_decoder_extra_args or {}),
        )

    @torch.inference_mode()
    def add_new_robot(
        self, inference_state: State, frame_idx: int, obj_id: Any, part: str = "robot"
    ) -> tuple[int, list, Tensor]:
        """Find the arm, gripper or robot in a frame without any prompt.

        On a frame that was tracked before, its memories are used. Clicks or a mask given there are dropped.

        Returns:
            The frame, all object ids and their logits (objects,1,H,W) at the video's size.

        Raises:
            As add_new_points_or_box.
        """
        with self._prompting(inference_state, frame_idx, obj_id, part):
            return self._find(inference_state, frame_idx, obj_id)

    def _find(self, state: State, frame_idx: int, obj_id: Any) -> tuple[int, list, Tensor]:
        index = self._obj_id_to_idx(state, obj_id)
        state["point_inputs_per_obj"][index].pop(frame_idx, None)
        state["mask_inputs_per_obj"][index].pop(frame_idx, None)
        tracked = state["frames_tracked_per_obj"][index].get(frame_idx)
        output, _ = self._run_single_frame_inference(
            inference_state=state,
            output_dict=state["output_dict_per_obj"][index],
            frame_idx=frame_idx,
            batch_size=1,
            is_init_cond_frame=tracked is None,
            point_inputs=None,
            mask_inputs=None,
            reverse=bool(tracked and tracked["reverse"]),
            # else the memory is made before propagation, of the mask as users see it
            run_mem_encoder=not self.behaviour.binary_first_memory,
        )
        prompted = tracked is None or self.add_all_frames_to_correct_as_cond
        kind = "cond_frame_outputs" if prompted else "non_cond_frame_outputs"
        state["temp_output_dict_per_obj"][index][kind][frame_idx] = output
        together = self._consolidate_temp_output_across_obj(state, frame_idx, prompted, consolidate_at_video_res=True)
        masks = self._get_orig_video_res_output(state, together["pred_masks_video_res"])[1]
        return frame_idx, state["obj_ids"], masks

    def add_new_mask(  # type: ignore[override]
        self, inference_state: State, frame_idx: int, obj_id: Any, mask: Any, part: str | None = None
    ) -> tuple[int, list, Tensor]:
        """As sam2's: the mask is taken as it is, and later propagation leaves it; `part` is for the frames after."""
        result = super().add_new_mask(inference_state, frame_idx, obj_id, mask, part)
        index = self._obj_id_to_idx(inference_state, obj_id)
        for outputs in inference_state["temp_output_dict_per_obj"][index].values():
            if frame_idx in outputs:
                outputs[frame_idx]["frozen"] = True
        return result

    def _check_part(self, part: str | None) -> None:
        if part is not None and part not in PARTS:
            raise ValueError(f"part {part!r}: expected one of {', '.join(PARTS)}")

    def _run_single_frame_inference(self, inference_state: State, output_dict: dict, frame_idx: int, **named: Any):  # type: ignore[no-untyped-def, override]
        outputs = inference_state["output_dict_per_obj"]
        index = next(i for i, output in outputs.items() if output is output_dict)
        own = inference_state["parts"].get(self._obj_idx_to_id(inference_state, index))
        self._part = inference_state["part"] or own
        self._frame = (inference_state, frame_idx)
        try:
            return super()._run_single_frame_inference(
                inference_state=inference_state, output_dict=output_dict, frame_idx=frame_idx, **named
            )
        finally:
            self._frame, self._part, self.sam_mask_decoder.robot_tokens = None, None, None

    def _use_mask_as_output(self, *arguments: Any, **named: Any) -> tuple:
        self.sam_mask_decoder.robot_tokens = None
        return super()._use_mask_as_output(*arguments, **named)

    def _prepare_memory_conditioned_features(  # type: ignore[override]
        self,
        frame_idx: int,
        is_init_cond_frame: bool,
        current_vision_feats: list[Tensor],
        current_vision_pos_embeds: list[Tensor],
        feat_sizes: list[tuple[int, int]],
        output_dict: dict,
        num_frames: int,
        track_in_reverse: bool = False,
    ) -> Tensor:
        """As sam2's, (B,256,h,w); besides, the decoder is given the tokens of the object's part."""
        features, size = current_vision_feats[-1], feat_sizes[-1]
        batch = features.shape[1]
        if is_init_cond_frame:
            objects = self.robot_prompt_generator([], [], batch)
            features = features + self.no_mem_embed
        else:
            counted = num_frames if self.behaviour.time_by_length else max(num_frames, self.max_obj_ptrs_in_encoder)
            memory = read_memory(self, output_dict, frame_idx, counted, track_in_reverse)
            features, _ = self.memory_attention(
                curr=features,
                curr_pos=current_vision_pos_embeds[-1],
                memory=memory.tokens,
                memory_pos=memory.positions,
                num_obj_ptr_tokens=memory.pointers,
                edges=self._edges(size).expand(batch, -1, -1, -1),
            )
            objects = self.robot_prompt_generator(memory.frames, memory.foregrounds, batch)
        part = self._part
        self.sam_mask_decoder.robot_tokens = None if part is None else self.sam_mask_decoder.tokens_of(part, objects)
        return features.permute(1, 2, 0).reshape(batch, -1, *size)

    def _edges(self, size: tuple[int, int]) -> Tensor:
        """Edge gain (1,1,h,w) of the current frame; computed once for all objects."""
        assert self._frame is not None
        state, t = self._frame
        known = state.get("edges")
        if known is None or known[0] != t:
            image = self._get_image_feature(state, t, 1)[0]
            normalised = self.behaviour.edges_of_normalised
            image = image if normalised else unnormalised(image)
            known = state["edges"] = t, edge_gain(image, size, self.behaviour.edges, rescale_bright=normalised)
        return known[1]
