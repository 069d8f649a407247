"""The compact network's three masks under prompts: what is robot, and which of it is arm and which gripper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from segmentation.prompts import Prompt
from segmentation.restrict import DROPPED, KEPT, Selection

Masks = dict[str, np.ndarray]  # part -> (H,W) float32 probability


class Guide:
    """Applies prompts to `robot`, `arm` and `gripper` of one frame after the other.

    Prompts for the robot (or for no part) say which robot; those for a part then say the same of that part, and
    take the pixels they add from the other part. Pixels dropped from a part are no longer robot.
    """

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self.selections = {part: Selection() for part in sorted({_part(p) for p in prompts}, key=str)}

    def copy(self) -> Guide:
        """For going another way in time from here."""
        other = Guide(())
        other.selections = {part: selection.copy() for part, selection in self.selections.items()}
        return other

    def step(self, masks: Masks, prompts: Sequence[Prompt] = ()) -> Masks:
        """The masks of one frame after its prompts and those of the frames before."""
        robot, arm, gripper = masks["robot"], masks["arm"], masks["gripper"]
        chosen = self._labels("robot", robot, prompts)
        if chosen is not None:
            kept = _kept(robot, chosen, _exact(prompts, "robot"))
            scale = kept / np.maximum(robot, 1e-6)
            missed = (kept > 0) & (robot <= 0.5)  # the likelier part takes all of it
            arm, gripper = (
                np.where(missed, np.where(larger, kept, 0), np.minimum(part * scale, kept))
                for part, larger in ((arm, arm >= gripper), (gripper, gripper > arm))
            )
            robot = kept
        parts = {"arm": arm, "gripper": gripper}
        for part, other in (("gripper", "arm"), ("arm", "gripper")):
            chosen = self._labels(part, parts[part], prompts)
            if chosen is None:
                continue
            kept = _kept(parts[part], chosen, _exact(prompts, part))
            mine = (chosen == KEPT) | (kept > 0.5)
            robot = np.where(mine, np.maximum(robot, kept), np.where(chosen == DROPPED, 0, robot))
            parts[part] = kept
            parts[other] = np.where(mine, np.minimum(parts[other], 1 - kept), parts[other])
        return {"robot": _float(robot), "arm": _float(parts["arm"]), "gripper": _float(parts["gripper"])}

    def _labels(self, part: str, probability: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray | None:
        selection = self.selections.get(part)
        return None if selection is None else selection.step(probability, [p for p in prompts if _part(p) == part])


def _part(prompt: Prompt) -> str:
    return prompt.part or "robot"


def _exact(prompts: Sequence[Prompt], part: str) -> np.ndarray | None:
    """The mask given for this frame, if any."""
    return next((p.mask for p in prompts if p.mask is not None and _part(p) == part), None)


def _kept(probability: np.ndarray, labels: np.ndarray, exact: np.ndarray | None) -> np.ndarray:
    """Probability after the labels: over a half exactly where they say kept; a mask given is certain."""
    if exact is not None:
        return exact.astype(np.float32)
    raised = np.where(probability > 0.5, probability, 0.5 + 0.5 * np.maximum(probability, 0.01))
    below = np.where(labels == 0, np.minimum(probability, 0.5), 0)
    return np.where(labels == KEPT, raised, below)


def _float(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
