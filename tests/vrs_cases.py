"""A tiny VRS-shaped folder and a predictor that finds robots by colour."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

SIZE = (40, 60)  # height, width
COLOURS = {"arm": (200, 40, 40), "gripper": (40, 200, 40)}
NUMBERS = {"arm": "000", "gripper": "001", "robot": "002"}
GROUND = (90, 90, 90)


def truths(index):
    """Part -> mask of frame `index`: an arm that grows and a gripper that appears on frame 1."""
    arm, gripper = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    arm[10:30, 5 : 20 + 2 * index] = True
    if index >= 1:
        gripper[14:26, 20 + 2 * index : 34 + 2 * index] = True
    return {"arm": arm, "gripper": gripper, "robot": arm | gripper}


def picture(index):
    """The frame as RGB."""
    image = np.full((*SIZE, 3), GROUND, np.uint8)
    for part, colour in COLOURS.items():
        image[truths(index)[part]] = colour
    return image


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1] if image.shape[2:] == (3,) else image)


def make_vrs(folder, videos=("a", "b"), frames=4, labelled=(0, 1, 2, 3), parts=tuple(NUMBERS)):
    """dataset/test/{image,mask_gt}, pictures as PNG so that colours survive."""
    for name in videos:
        for t in range(frames):
            save(folder / "test" / "image" / name / f"{t:05d}.png", picture(t))
            for part in parts if t in labelled else ():
                mask = truths(t)[part].astype(np.uint8) * 255
                save(folder / "test" / "mask_gt" / name / NUMBERS[part] / f"{t:05d}.png", mask)
    return folder


@dataclass
class State:
    frames: object
    objects: dict = field(default_factory=dict)  # obj_id -> part
    masks: dict = field(default_factory=dict)  # (obj_id, frame) -> mask that was clicked into being
    calls: list = field(default_factory=list)


@dataclass
class ByColour:
    """Finds a part by its colour, but sees only `sees` of it (columns from the left) unless corrected.

    A click makes the frame it is on right where `learns`, and wrong otherwise. From frame `fails_from` on it sees
    nothing, until the frame before has been corrected.
    """

    learns: bool = True
    fails_from: int = 10**6
    breaks_on: str = ""
    states: list = field(default_factory=list)

    def init_state(self, frames):
        if self.breaks_on and getattr(frames, "name", "") == self.breaks_on:
            raise RuntimeError("out of memory")
        self.states.append(State(frames))
        return self.states[-1]

    def find(self, state, index, part):
        image = state.frames[index].astype(int)
        near = {p: np.abs(image - c).sum(2) < 60 for p, c in COLOURS.items()}
        return near["arm"] | near["gripper"] if part == "robot" else near[part]

    def answer(self, state, index):
        masks = []
        for number, part in state.objects.items():
            mask = self.find(state, index, part)
            mended = [t for n, t in state.masks if n == number and t <= index]
            if index >= self.fails_from and not mended:
                mask = np.zeros_like(mask)
            masks.append(state.masks.get((number, index), mask))
        logits = torch.from_numpy(np.array(masks)[:, None] * 20.0 - 10.0)
        return index, list(state.objects), logits

    def add_new_robot(self, state, frame_idx, obj_id, part):
        state.calls.append(("robot", frame_idx, part))
        state.objects[obj_id] = part
        return self.answer(state, frame_idx)

    def add_new_points_or_box(self, state, frame_idx, obj_id, points=None, labels=None, *, box=None, part=None):
        kind = "box" if box is not None else "points"
        state.calls.append((kind, frame_idx, part, np.asarray(box if points is None else points).tolist()))
        state.objects[obj_id] = part
        if frame_idx >= self.fails_from:
            right = self.find(state, frame_idx, part)
            state.masks[obj_id, frame_idx] = right if self.learns else np.zeros_like(right)
        return self.answer(state, frame_idx)

    def clear_all_prompts_in_frame(self, state, frame_idx, obj_id):
        state.calls.append(("clear", frame_idx, state.objects[obj_id]))
        state.masks.pop((obj_id, frame_idx), None)

    def propagate_in_video(self, state, start_frame_idx=None):
        state.calls.append(("propagate", start_frame_idx, tuple(state.objects.values())))
        for index in range(start_frame_idx or 0, len(state.frames)):
            yield self.answer(state, index)
