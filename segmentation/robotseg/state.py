"""The state of a video under a predictor: prompts are taken whole or not at all, memories are held as long as needed.

sam2 keeps everything for ever, and registers an object before it looks at the prompt.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

State = dict[str, Any]
INPUTS = ("point_inputs_per_obj", "mask_inputs_per_obj")
RESULTS = ("output_dict_per_obj", "temp_output_dict_per_obj", "frames_tracked_per_obj")


def check_frame(state: State, frame: int) -> None:
    """Is there such a frame?

    Raises:
        IndexError: no. TypeError: not a whole number.
    """
    if not 0 <= operator.index(frame) < state["num_frames"]:
        raise IndexError(f"frame {frame}: the video has frames 0 to {state['num_frames'] - 1}")


@contextmanager
def whole(state: State, obj_id: Any) -> Iterator[None]:
    """What is done within to an object's prompts is undone where it raises."""
    index = state["obj_id_to_idx"].get(obj_id)
    part = state["parts"].get(obj_id)
    changing = [] if index is None else [state[name][index] for name in INPUTS]
    changing += [] if index is None else list(state["temp_output_dict_per_obj"][index].values())
    before = [dict(prompts) for prompts in changing]
    try:
        yield
    except BaseException:
        if index is None and obj_id in state["obj_id_to_idx"]:
            _drop_newest(state, obj_id)
        for prompts, old in zip(changing, before):
            prompts.clear()
            prompts.update(old)
        state["parts"].pop(obj_id, None)
        if part is not None:
            state["parts"][obj_id] = part
        raise


def _drop_newest(state: State, obj_id: Any) -> None:
    index = state["obj_id_to_idx"].pop(obj_id)
    for name in ("obj_idx_to_id", *INPUTS, *RESULTS):
        state[name].pop(index, None)
    state["obj_ids"] = list(state["obj_id_to_idx"])


def start_anew(state: State, index: int) -> None:
    """Drop what was tracked of an object whose prompts were all cleared: its next prompt is its first (sam2 fails)."""
    if not any(state[name][index]["cond_frame_outputs"] for name in RESULTS[:2]):
        state["output_dict_per_obj"][index]["non_cond_frame_outputs"].clear()
        state["frames_tracked_per_obj"][index].clear()


def check_held(state: State, index: int, frame: int, wanted: Iterable[int]) -> None:
    """Are the memories of the frames `wanted` still there, as far as they ever were?

    Raises:
        RuntimeError: no; says what to do.
    """
    tracked = state["frames_tracked_per_obj"][index]
    kinds = state["output_dict_per_obj"][index].values()
    gone = [t for t in wanted if t in tracked and not any(t in outputs for outputs in kinds)]
    if gone:
        enough = max(abs(t - s) for t in gone for s in (min(tracked), max(tracked)))
        raise RuntimeError(
            f"frame {frame}, object {state['obj_idx_to_id'][index]!r}: memories of frames {min(gone)} to {max(gone)} "
            f"are no longer held; give init_state history={enough}, or track again from a prompted frame"
        )


def forget(state: State, index: int, now: int, reach: int) -> None:
    """Drop an object's tracked outputs more than the state's history from frame `now`.

    Masks that users gave stay, and what lies within `reach` of a prompted frame: tracking may start there once more,
    in the other direction.
    """
    outputs, history = state["output_dict_per_obj"][index]["non_cond_frame_outputs"], state["history"]
    if len(outputs) <= history:
        return
    old = [t for t, output in outputs.items() if abs(t - now) > history and not output.get("frozen")]
    if old:
        prompted = {p for kinds in state["output_dict_per_obj"].values() for p in kinds["cond_frame_outputs"]}
        for t in old:
            if not any(abs(t - p) < reach for p in prompted):
                del outputs[t]
