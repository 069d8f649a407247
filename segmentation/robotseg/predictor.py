"""RobotSeg's video predictor: sam2's, with automatic prompts, parts, and bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sam2.modeling.sam.transformer import TwoWayTransformer
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from segmentation.errors import WeightsError
from segmentation.frames import open_frames
from segmentation.robotseg.behaviour import FAITHFUL, Behaviour
from segmentation.robotseg.decoder import PARTS, RobotMaskDecoder
from segmentation.robotseg.edges import edge_gain
from segmentation.robotseg.generator import RobotPromptGenerator
from segmentation.robotseg.memory import read_memory
from segmentation.robotseg.pictures import Pictures, unnormalised
from segmentation.video import VideoReader

HISTORY = 512  # frames on either side of the current one whose masks and memories are kept for corrections
HOLE_LOGIT = 0.1  # what a filled hole is set to
State = dict[str, Any]


class StreamingPredictor(SAM2VideoPredictor):
    """sam2's predictor on frames that are read when needed, with memory that does not grow with the video.

    Attributes:
        precision: torch.float32, or torch.bfloat16 to compute under autocast.
        fill_holes: holes of at most so many pixels in the 256x256 mask are filled, on any device.
    """

    precision = torch.float32
    fill_holes = 0

    @torch.inference_mode()
    def init_state(  # type: ignore[override]
        self,
        video_path: str | Path | VideoReader | Sequence[np.ndarray],
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
        history: int = HISTORY,
    ) -> State:
        """State of a video.

        Args:
            video_path: a video file, a folder of images, a reader of either, or frames (H,W,3) uint8 RGB.
            offload_video_to_cpu, async_loading_frames: accepted for sam2's sake; frames are always read when needed.
            offload_state_to_cpu: as sam2.
            history: so many frames before and after the current one can be corrected; older ones are forgotten
                (0.75 MB each and object).

        Raises:
            VideoError: no video there.
            ValueError: a history shorter than the memory bank.
        """
        if history < self.needed_history:
            raise ValueError(f"history {history}: tracking looks back {self.needed_history} frames; give at least that")
        frames = open_frames(video_path)
        state: State = {
            name: {}
            for name in (
                "point_inputs_per_obj", "mask_inputs_per_obj", "cached_features", "constants", "output_dict_per_obj",
                "temp_output_dict_per_obj", "frames_tracked_per_obj", "parts",
            )
        }  # fmt: skip
        state.update(
            images=Pictures(frames, self.image_size),
            num_frames=len(frames),
            video_height=frames.height,
            video_width=frames.width,
            device=self.device,
            storage_device=torch.device("cpu") if offload_state_to_cpu else self.device,
            offload_video_to_cpu=True,
            offload_state_to_cpu=offload_state_to_cpu,
            obj_id_to_idx=OrderedDict(),
            obj_idx_to_id=OrderedDict(),
            obj_ids=[],
            history=history,
        )
        return state

    @property
    def needed_history(self) -> int:
        """Frames back that tracking may attend to."""
        return max(self.num_maskmem, self.max_obj_ptrs_in_encoder)

    def _numbers(self) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _get_image_feature(self, inference_state: State, frame_idx: int, batch_size: int) -> tuple:
        if not 0 <= frame_idx < inference_state["num_frames"]:
            raise IndexError(f"frame {frame_idx} of a video of {inference_state['num_frames']} frames")
        with self._numbers():
            return super()._get_image_feature(inference_state, frame_idx, batch_size)

    def _run_memory_encoder(self, *arguments: Any, **named: Any) -> tuple:
        with self._numbers():
            return super()._run_memory_encoder(*arguments, **named)

    def _run_single_frame_inference(self, *arguments: Any, **named: Any) -> tuple[dict, Tensor]:
        with self._numbers():
            output, masks = super()._run_single_frame_inference(*arguments, **named)
        if self.fill_holes:
            masks = fill_small_holes(masks, self.fill_holes)
            output["pred_masks"] = masks.to(output["pred_masks"].device)
        return output, masks

    @torch.inference_mode()
    def propagate_in_video(  # type: ignore[override]
        self,
        inference_state: State,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
        part: str | None = None,
    ) -> Iterator[tuple[int, list, Tensor]]:
        """Track all objects; yields (frame, object ids, logits (objects,1,H,W) at the video's size).

        Args:
            start_frame_idx: default the first prompted frame. max_frame_num_to_track: frames after it, default all.
            reverse: backwards in time.
            part: arm, gripper or robot for all objects; default what each was prompted with.

        Raises:
            RuntimeError: an object without prompts.
            ValueError: an unknown part.
        """
        state = inference_state
        if part is not None:
            for obj_id in state["obj_ids"]:
                self._set_part(state, obj_id, part)
        self.propagate_in_video_preflight(state)
        outputs = [state["output_dict_per_obj"][i] for i in range(self._get_obj_num(state))]
        start = start_frame_idx
        if start is None:
            start = min(t for output in outputs for t in output["cond_frame_outputs"])
        length = state["num_frames"] if max_frame_num_to_track is None else max_frame_num_to_track
        if reverse:
            order = range(start, max(start - length, 0) - 1, -1) if start > 0 else range(0)
        else:
            order = range(start, min(start + length, state["num_frames"] - 1) + 1)
        direction = {"reverse": reverse}
        for t in order:
            masks = []
            for index, output in enumerate(outputs):
                masks.append(self._track(state, output, t, reverse))
                state["frames_tracked_per_obj"][index][t] = direction
                _forget(output["non_cond_frame_outputs"], t, state["history"])
            yield t, state["obj_ids"], self._get_orig_video_res_output(state, torch.cat(masks))[1]

    def _track(self, state: State, outputs: dict, t: int, reverse: bool) -> Tensor:
        """Logits (1,1,256,256) of one object in frame t: what was prompted there, or tracked."""
        known = outputs["cond_frame_outputs"].get(t)
        if known is None and outputs["non_cond_frame_outputs"].get(t, {}).get("frozen"):
            known = outputs["non_cond_frame_outputs"][t]
        if known is not None:
            return known["pred_masks"].to(state["device"], non_blocking=True)
        outputs["non_cond_frame_outputs"][t], masks = self._run_single_frame_inference(
            inference_state=state,
            output_dict=outputs,
            frame_idx=t,
            batch_size=1,
            is_init_cond_frame=False,
            point_inputs=None,
            mask_inputs=None,
            reverse=reverse,
            run_mem_encoder=True,
        )
        return masks

    def _set_part(self, state: State, obj_id: Any, part: str | None) -> None:
        """Plain SAM 2 knows no parts."""


class Sam2Predictor(StreamingPredictor):
    """SAM 2 (Ravi et al., 2024), all sizes of 2.0 and 2.1: clicks, boxes and masks; any `part` is passed over."""

    def add_new_robot(self, inference_state: State, frame_idx: int, obj_id: Any, part: str = "robot") -> None:
        """SAM 2 cannot.

        Raises:
            WeightsError: always; says what to do.
        """
        raise WeightsError(
            f"SAM 2 does not know robots: frame {frame_idx} needs a click, a box or a mask on the {part}, or "
            "weights of RobotSeg"
        )

    def add_new_points_or_box(self, *arguments: Any, part: str | None = None, **named: Any) -> tuple:
        """As sam2's."""
        return super().add_new_points_or_box(*arguments, **named)

    def add_new_mask(self, *arguments: Any, part: str | None = None, **named: Any) -> tuple:
        """As sam2's."""
        return super().add_new_mask(*arguments, **named)


def _forget(outputs: dict[int, dict], now: int, history: int) -> None:
    """Drop outputs more than `history` frames from now: nothing attends to them."""
    if len(outputs) > history:
        for t in [t for t in outputs if abs(t - now) > history]:
            del outputs[t]


def fill_small_holes(logits: Tensor, area: int) -> Tensor:
    """Logits (B,1,h,w) with 8-connected regions of at most `area` pixels with logits <= 0 set to +0.1."""
    filled = logits.clone()
    for b, mask in enumerate((logits[:, 0] <= 0).cpu().numpy()):
        _, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] <= area
        small[0] = False  # the mask itself
        if small.any():
            filled[b, 0][torch.from_numpy(small[label]).to(logits.device)] = HOLE_LOGIT
    return filled


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
            ValueError: an unknown part. IndexError: no such frame.
        """
        state = inference_state
        self._set_part(state, obj_id, part)
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

    def add_new_points_or_box(  # type: ignore[override]
        self,
        inference_state: State,
        frame_idx: int,
        obj_id: Any,
        *arguments: Any,
        part: str | None = None,
        **named: Any,
    ) -> tuple[int, list, Tensor]:
        """As sam2's; `part` makes it a click on an arm, gripper or robot."""
        self._set_part(inference_state, obj_id, part)
        return super().add_new_points_or_box(inference_state, frame_idx, obj_id, *arguments, **named)

    def add_new_mask(  # type: ignore[override]
        self, inference_state: State, frame_idx: int, obj_id: Any, mask: Any, part: str | None = None
    ) -> tuple[int, list, Tensor]:
        """As sam2's: the mask is taken as it is, and later propagation leaves it; `part` is for the frames after."""
        self._set_part(inference_state, obj_id, part)
        result = super().add_new_mask(inference_state, frame_idx, obj_id, mask)
        index = self._obj_id_to_idx(inference_state, obj_id)
        for outputs in inference_state["temp_output_dict_per_obj"][index].values():
            if frame_idx in outputs:
                outputs[frame_idx]["frozen"] = True
        return result

    def reset_state(self, inference_state: State) -> None:
        """As sam2's."""
        super().reset_state(inference_state)
        inference_state["parts"].clear()

    def remove_object(self, inference_state: State, obj_id: Any, *arguments: Any, **named: Any) -> tuple:
        """As sam2's."""
        inference_state["parts"].pop(obj_id, None)
        return super().remove_object(inference_state, obj_id, *arguments, **named)

    def _set_part(self, state: State, obj_id: Any, part: str | None) -> None:
        if part is not None and part not in PARTS:
            raise ValueError(f"part {part!r}: expected one of {', '.join(PARTS)}")
        if part is not None:
            state["parts"][obj_id] = part

    def _run_single_frame_inference(self, inference_state: State, output_dict: dict, frame_idx: int, **named: Any):  # type: ignore[no-untyped-def, override]
        outputs = inference_state["output_dict_per_obj"]
        index = next(i for i, output in outputs.items() if output is output_dict)
        self._part = inference_state["parts"].get(self._obj_idx_to_id(inference_state, index))
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
