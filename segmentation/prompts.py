"""What a user points at: clicks, a box or a mask on a frame, for the whole robot or for one of its parts.

On the command line `[PART@]FRAME:...`, frames counted from 0, pixels from the upper left one, whose centre is 0,0:

    --click 0:320,200,+              this pixel of frame 0 is robot
    --click gripper@12:310.5,90,-    this one of frame 12 is no gripper
    --box 0:100,40,420,300           the robot of frame 0 is in here
    --mask arm@30:arm_30.png         this is the arm of frame 30
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from segmentation.errors import PromptError
from segmentation.masks import PARTS
from segmentation.pictures import read_mask

KINDS = ("click", "box", "mask")
_HEAD = re.compile(rf"(?:({'|'.join(PARTS)})@)?(\d{{1,9}}):(.+)", re.DOTALL)
FORMS = {
    "click": "[PART@]FRAME:X,Y,+ or [PART@]FRAME:X,Y,- such as 0:320,200,+ or gripper@12:310,90,-",
    "box": "[PART@]FRAME:X0,Y0,X1,Y1 such as 0:100,40,420,300 or gripper@12:300,60,340,110",
    "mask": "[PART@]FRAME:FILE.png such as 0:robot.png or gripper@12:gripper.png",
}


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is said of one frame and one part.

    Attributes:
        frame: counts from 0.
        part: robot, arm or gripper; None = the robot, whatever the segmenter calls it.
        points: (n,2) float32 pixels x, y. labels: (n,) int32, 1 = inside, 0 = outside.
        box: x0, y0, x1, y1 in pixels, or None.
        mask: (H,W) bool, or None. A mask says everything: there are no points and no box beside it.
    """

    frame: int
    part: str | None = None
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"{self.part}@{self.frame}" if self.part else f"frame {self.frame}"


def parse_prompts(texts: Iterable[tuple[str, str]]) -> tuple[Prompt, ...]:
    """Prompts from (kind, text) pairs of the command line, see the head of this file; masks are read here.

    Those of one frame and part are put together; sorted by frame.

    Raises:
        PromptError: a text of another form. MaskError: a mask file that cannot be read.
    """
    return merge(_parse(kind, text) for kind, text in texts)


def absolute(kind: str, text: str) -> tuple[str, str]:
    """The pair with the path of a mask made absolute, so that it means the same in another folder."""
    head = _HEAD.fullmatch(text.strip())
    if kind != "mask" or head is None:
        return kind, text.strip()
    part = f"{head[1]}@" if head[1] else ""
    return kind, f"{part}{int(head[2])}:{os.path.abspath(os.path.expanduser(head[3]))}"


def mask_path(text: str) -> str:
    """The file of a mask prompt."""
    head = _HEAD.fullmatch(text.strip())
    if head is None:
        raise PromptError(f"--mask {text}: expected {FORMS['mask']}")
    return head[3]


def _parse(kind: str, text: str) -> Prompt:
    wrong = PromptError(f"--{kind} {text}: expected {FORMS[kind]}")
    head = _HEAD.fullmatch(text.strip())
    if head is None:
        raise wrong
    part, frame, rest = head[1], int(head[2]), head[3]
    if kind == "mask":
        return Prompt(frame, part, mask=read_mask(Path(rest).expanduser()))
    fields = [field.strip() for field in rest.split(",")]
    sign = fields.pop() if kind == "click" else "+"
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise wrong from None
    if not np.isfinite(numbers).all() or sign not in ("+", "-") or len(numbers) != (2 if kind == "click" else 4):
        raise wrong
    if kind == "click":
        return Prompt(frame, part, np.array([numbers], np.float32), np.array([sign == "+"], np.int32))
    x0, y0, x1, y1 = numbers
    return Prompt(frame, part, box=(x0, y0, x1, y1))


def merge(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """Prompts of one frame and part as one, clicks in their order; sorted by frame.

    Raises:
        PromptError: two boxes, two masks, or a mask beside clicks or a box, of the same frame and part.
    """
    merged: dict[tuple[int, str | None], Prompt] = {}
    for new in prompts:
        old = merged.setdefault((new.frame, new.part), Prompt(new.frame, new.part))
        boxes, masks = [p.box for p in (old, new) if p.box], [p.mask for p in (old, new) if p.mask is not None]
        if len(boxes) > 1 or len(masks) > 1:
            raise PromptError(f"{new.where}: {'two boxes' if len(boxes) > 1 else 'two masks'}; give one")
        both = replace(
            old,
            points=np.concatenate([old.points, new.points]).astype(np.float32),
            labels=np.concatenate([old.labels, new.labels]).astype(np.int32),
            box=boxes[0] if boxes else None,
            mask=masks[0] if masks else None,
        )
        if masks and (boxes or len(both.points)):
            raise PromptError(f"{new.where}: a mask says everything; give no clicks and no box beside it")
        merged[new.frame, new.part] = both
    return tuple(sorted(merged.values(), key=lambda prompt: prompt.frame))


def check_prompts(prompts: Sequence[Prompt], width: int, height: int, count: int | None = None) -> None:
    """Do the prompts lie in a video of this size and, where known, number of frames?

    Raises:
        PromptError: a frame the video does not have, a pixel outside, an empty box, a mask of another size.
    """
    for prompt in prompts:
        if prompt.part is not None and prompt.part not in PARTS:
            raise PromptError(f"{prompt.where}: expected one of the parts {', '.join(PARTS)}")
        if prompt.frame < 0 or (count is not None and prompt.frame >= count):
            frames = f"{count} frames, 0 to {count - 1}" if count else "frames from 0 on"
            raise PromptError(f"{prompt.where}: the video has {frames}")
        for x, y in prompt.points:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise PromptError(f"{prompt.where}: the click {x:g},{y:g} is outside the picture of {width}x{height}")
        if prompt.box is not None:
            _check_box(prompt, width, height)
        if prompt.mask is not None and prompt.mask.shape != (height, width):
            h, w = prompt.mask.shape
            raise PromptError(f"{prompt.where}: the mask has {w}x{h} pixels, the video {width}x{height}")
        if prompt.mask is not None and not prompt.mask.any():
            raise PromptError(f"{prompt.where}: the mask is empty; it must show the {prompt.part or 'robot'}")
        if prompt.mask is None and prompt.box is None and not len(prompt.points):
            raise PromptError(f"{prompt.where}: a prompt without clicks, box or mask")


def _check_box(prompt: Prompt, width: int, height: int) -> None:
    assert prompt.box is not None
    x0, y0, x1, y1 = prompt.box
    text = ",".join(f"{v:g}" for v in prompt.box)
    if not (x0 < x1 and y0 < y1):
        raise PromptError(f"{prompt.where}: the box {text} is empty; expected X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1")
    if min(x0, y0) < -0.5 or x1 > width or y1 > height:
        raise PromptError(f"{prompt.where}: the box {text} reaches outside the picture of {width}x{height}")
