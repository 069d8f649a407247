"""sam2's video predictor on frames that are read when needed, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from segmentation.errors import WeightsError
from segmentation.frames import open_frames
from segmentation.robotseg.pictures import Pictures
from segmentation.robotseg.state import State, check_frame, check_held, forget, start_anew, whole
from segmentation.video import VideoReader

HISTORY = 512  # frames on either side of the current one whose masks and memories are held
HOLE_LOGIT = 0.1  # what a filled hole is set to


class StreamingPredictor(SAM2VideoPredictor):
    """sam2's predictor on frames that are read when needed, with memory that does not grow with the video.

    Attributes:
        precision: torch.float32, or torch.bfloat16 to compute under autocast.
        fill_holes: holes of at most so many pixels in the 256x256 mask are filled, on any device.
        keep_corrections: a prompted frame that is corrected after tracking stays corrected. False as in sam2, which
            shows the correction and then tracks on from the mask before it.
    """

    precision = torch.float32
    fill_holes = 0
    keep_corrections = False

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
            history: so many frames before and after the current one are held (0.75 MB each and object), and those
                around prompted ones. Tracking looks back 16 frames; where these are no longer held, frames can be
                corrected no more, nor tracking started.

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
            part=None,
            obj_id_to_idx=OrderedDict(),
            obj_idx_to_id=OrderedDict(),
            obj_ids=[],
            history=history,
        )
        return state

    def reset_state(self, inference_state: State) -> None:
        """As sam2's."""
        super().reset_state(inference_state)
        inference_state["parts"].clear()

    def remove_object(self, inference_state: State, obj_id: Any, *arguments: Any, **named: Any) -> tuple:
        """As sam2's."""
        inference_state["parts"].pop(obj_id, None)
        return super().remove_object(inference_state, obj_id, *arguments, **named)

    @property
    def needed_history(self) -> int:
        """Frames back that tracking may attend to."""
        return max(self.num_maskmem, self.max_obj_ptrs_in_encoder)

    def _numbers(self) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _get_image_feature(self, inference_state: State, frame_idx: int, batch_size: int) -> tuple:
        check_frame(inference_state, frame_idx)
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

    def add_new_points_or_box(
        self,
        inference_state: State,
        frame_idx: int,
        obj_id: Any,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
        part: str | None = None,
    ) -> tuple[int, list, Tensor]:
        """As sam2's; `part` makes it a click on an arm, gripper or robot, where the network knows these.

        Raises:
            IndexError: no such frame. ValueError: an unknown part; points not (N,2) with N labels, box not x0, y0, x1,
                y1. RuntimeError: a tracked frame whose memories are no longer held. Where it raises, nothing has
                changed.
        """
        _check_points(frame_idx, points, labels, box)
        with self._prompting(inference_state, frame_idx, obj_id, part):
            return super().add_new_points_or_box(
                inference_state, frame_idx, obj_id, points, labels, clear_old_points, normalize_coords, box
            )

    def add_new_mask(  # type: ignore[override]
        self, inference_state: State, frame_idx: int, obj_id: Any, mask: Any, part: str | None = None
    ) -> tuple[int, list, Tensor]:
        """As sam2's: the mask (H,W) is taken as it is; `part` is for the frames after.

        Raises:
            As add_new_points_or_box. ValueError: not a mask.
        """
        if len(np.shape(mask)) != 2:
            raise ValueError(f"frame {frame_idx}: a mask must be (H,W), got {tuple(np.shape(mask))}")
        with self._prompting(inference_state, frame_idx, obj_id, part):
            return super().add_new_mask(inference_state, frame_idx, obj_id, mask)

    def clear_all_prompts_in_frame(
        self, inference_state: State, frame_idx: int, obj_id: Any, need_output: bool = True
    ) -> tuple[int, list, Tensor] | None:
        """As sam2's; a mask given there may be tracked over from now on.

        Raises:
            KeyError: an unknown object. IndexError: no such frame.
        """
        check_frame(inference_state, frame_idx)
        index = inference_state["obj_id_to_idx"].get(obj_id)
        if index is None:
            raise KeyError(f"object {obj_id!r}: there are {inference_state['obj_ids']}")
        for outputs in inference_state["output_dict_per_obj"][index].values():
            outputs.get(frame_idx, {}).pop("frozen", None)
        return super().clear_all_prompts_in_frame(inference_state, frame_idx, obj_id, need_output)

    @torch.inference_mode()
    def propagate_in_video_preflight(self, inference_state: State) -> None:
        """As sam2's; see `keep_corrections`."""
        for index, new in inference_state["temp_output_dict_per_obj"].items():
            prompted = inference_state["output_dict_per_obj"][index]["cond_frame_outputs"]
            corrected = [t for t in new["non_cond_frame_outputs"] if t in prompted and self.keep_corrections]
            new["cond_frame_outputs"].update((t, new["non_cond_frame_outputs"].pop(t)) for t in corrected)
        super().propagate_in_video_preflight(inference_state)

    @contextmanager
    def _prompting(self, state: State, frame_idx: int, obj_id: Any, part: str | None) -> Iterator[None]:
        """Within, an object gets a prompt; nothing has changed where that raises."""
        check_frame(state, frame_idx)
        self._check_part(part)
        index = state["obj_id_to_idx"].get(obj_id)
        if index is not None:
            start_anew(state, index)
        tracked = None if index is None else state["frames_tracked_per_obj"][index].get(frame_idx)
        if tracked is not None:
            check_held(state, index, frame_idx, [frame_idx, *self._behind(frame_idx, tracked["reverse"])])
        with whole(state, obj_id):
            if part is not None:
                state["parts"][obj_id] = part
            yield

    def _behind(self, frame: int, reverse: bool) -> range:
        """The frames that tracking looks back at from a frame."""
        return (
            range(frame + 1, frame + self.needed_history) if reverse else range(frame + 1 - self.needed_history, frame)
        )

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
            part: arm, gripper or robot for all objects, in this call; default what each was prompted with.

        Raises:
            RuntimeError: an object without prompts; memories that the first frame needs are no longer held; an object
                was removed meanwhile.
            ValueError: an unknown part. IndexError: no such first frame.
        """
        state = inference_state
        self._check_part(part)
        if start_frame_idx is not None:
            check_frame(state, start_frame_idx)
        self.propagate_in_video_preflight(state)
        obj_ids = list(state["obj_ids"])
        outputs = [state["output_dict_per_obj"][i] for i in range(len(obj_ids))]
        start = start_frame_idx
        if start is None:
            start = min(t for output in outputs for t in output["cond_frame_outputs"])
        for index in range(len(obj_ids)):
            check_held(state, index, start, self._behind(start, reverse))
        length = state["num_frames"] if max_frame_num_to_track is None else max_frame_num_to_track
        if reverse:
            order = range(start, max(start - length, 0) - 1, -1) if start > 0 else range(0)
        else:
            order = range(start, min(start + length, state["num_frames"] - 1) + 1)
        direction = {"reverse": reverse}
        for t in order:
            masks = []
            for index, output in enumerate(outputs):
                if state["output_dict_per_obj"].get(index) is not output:
                    raise RuntimeError(
                        f"frame {t}: objects were removed while tracking; start propagate_in_video again"
                    )
                state["part"] = part  # for this frame: before the next one somebody may click
                try:
                    masks.append(self._track(state, output, t, reverse))
                finally:
                    state["part"] = None
                state["frames_tracked_per_obj"][index][t] = direction
                forget(state, index, t, self.needed_history)
            yield t, list(obj_ids), self._get_orig_video_res_output(state, torch.cat(masks))[1]

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

    def _check_part(self, part: str | None) -> None:
        """Plain SAM 2 knows no parts."""


class Sam2Predictor(StreamingPredictor):
    """SAM 2 (Ravi et al., 2024), all sizes of 2.0 and 2.1: clicks, boxes and masks; any `part` is passed over."""

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.memory_attention.register_forward_pre_hook(_as_weights, with_kwargs=True)

    def add_new_robot(self, inference_state: State, frame_idx: int, obj_id: Any, part: str = "robot") -> None:
        """SAM 2 cannot.

        Raises:
            WeightsError: always; says what to do.
        """
        raise WeightsError(
            f"SAM 2 does not know robots: frame {frame_idx} needs a click, a box or a mask on the {part}, or "
            "weights of RobotSeg"
        )


def _check_points(frame: int, points: Any, labels: Any, box: Any) -> None:
    """Raises ValueError for points, labels or a box of the wrong shape; sam2 looks at the rest."""
    if points is not None and labels is not None:
        shape, count = np.shape(points)[-2:], int(np.prod(np.shape(labels)))
        if len(shape) != 2 or shape[1] != 2 or shape[0] != count:
            raise ValueError(f"frame {frame}: points must be (N,2) with N labels, got {shape} and {count}")
    if box is not None and int(np.prod(np.shape(box))) != 4:
        raise ValueError(f"frame {frame}: a box must be x0, y0, x1, y1, got shape {np.shape(box)}")


def _as_weights(attention: torch.nn.Module, arguments: tuple, named: dict) -> tuple[tuple, dict]:
    """Memories, kept in bfloat16, as the weights are; sam2 fails on a frame that has no object pointer behind it."""
    return arguments, {**named, "memory": named["memory"].to(next(attention.parameters()).dtype)}


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
