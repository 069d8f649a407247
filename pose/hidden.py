"""Where something that stands still hides the robot: masks that lack it there say nothing of where it is.

With the camera at rest, a thing before the robot cuts the same piece out of every mask. A fit that believes such masks
bends the arm round the thing. Once a first fit is there, these pixels tell themselves: the robot is put on them again
and again, and no mask ever shows it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from pose.evenly import evenly
from pose.kernel import coverage, see
from pose.solver import parallel
from pose.targets import Targets, shrink
from pose.tracking import FINE, Frame, Tracker

LOOKED_AT = 40  # frames
NEVER = 0.15  # of the masks that show the robot there: so few are errors of theirs
OFTEN, LEAST = 0.15, 3  # share and number of the frames that must put the robot on a pixel
ABSENT = 0.85  # of them, in which the masks lack it
THIN = 9  # pixels at 640 of width: what is narrower is an outline that is a little off
AROUND = 4  # pixels at 640 of width about such a place that are believed no more than it
BEYOND = 24  # pixels at 640 of width about it in which the same holds where no mask shows the robot
SHARE = 0.01  # of the robot's pixels; less changes nothing
MOST = 0.5  # more: it is the fit that is wrong


def hidden_pixels(targets: Targets, tracker: Tracker, frames: Sequence[Frame | None]) -> np.ndarray | None:
    """(h,w) bool at the finest level's size: pixels behind something; None where there are too few of them.

    Args:
        frames: a fit; those that explain their masks much worse than the usual one are not asked.
    """
    index = [t for t, frame in enumerate(frames) if frame is not None]
    usual = np.median([frames[t].iou for t in index]) if index else 0.0  # type: ignore[union-attr]
    index = [t for t in index if frames[t].iou > 0.8 * usual]  # type: ignore[union-attr]
    if len(index) < LEAST:
        return None
    some = [index[i] for i in evenly(len(index), LOOKED_AT)]
    view, model = tracker.views[-1], tracker.models[-1]
    full = tracker.channels[0].max()

    def one(t: int) -> tuple[np.ndarray, np.ndarray]:
        frame = frames[t]
        assert frame is not None
        face_id, _, _ = see(model, frame.q, view.T_cam_base, view.K, view.height, view.width, 1)
        return coverage(face_id, model.face_part, tracker.channels, 1)[0] / full, targets.read(t, FINE.width)[0] / full

    put, absent, shown = (np.zeros((view.height, view.width), np.float32) for _ in range(3))
    for robot, mask in parallel(one, some):
        put += robot
        absent += robot * (1 - mask)
        shown += mask
    known = put >= max(LEAST, OFTEN * len(some))
    behind = known & (absent > ABSENT * put) & (shown < NEVER * len(some))
    # a thing is wide; narrow strips are outlines of the robot that are a little off
    unit = tracker.levels[-1].zoom * view.unit
    wide = cv2.morphologyEx(behind.astype(np.uint8), cv2.MORPH_OPEN, _disc(THIN * unit))
    if not SHARE * known.sum() < wide.sum() < MOST * known.sum():
        return None
    # how far the thing goes on is not known, only that no mask shows the robot there
    beyond = cv2.dilate(wide, _disc(2 * BEYOND * unit)).astype(bool) & (shown < NEVER * len(some))
    return beyond | cv2.dilate(wide, _disc(2 * AROUND * unit)).astype(bool)


def wrong_in_first(q: np.ndarray, targets: Targets, tracker: Tracker) -> np.ndarray:
    """(h,w) in 0..1 at the finest level's size: where the first frame's mask is not that of its known joints q (n,).

    The masks of the other frames are likely wrong there too, for the camera stands: a chair that passes for a link, a
    link that is covered.
    """
    target = targets.read(0, FINE.width)
    view, model = tracker.views[-1], tracker.models[-1]
    face_id, _, _ = see(model, q, view.T_cam_base, view.K, view.height, view.width, 2)
    wrong = np.abs(target - coverage(face_id, model.face_part, tracker.channels, 2))[0] / tracker.channels[0].max()
    return cv2.GaussianBlur(wrong, (0, 0), FINE.blur)


def without(tracker: Tracker, doubt: np.ndarray) -> Tracker:
    """The tracker that believes a pixel's masks the less, in every frame, the greater its doubt (h,w) in 0..1."""
    believed = 1 - doubt.astype(np.float32)
    trust = [shrink(believed[None], level)[0] for level in tracker.levels[:-1]] + [believed]
    return replace(tracker, trust=tuple(new if old is None else old * new for old, new in zip(tracker.trust, trust)))


def _disc(size: float) -> np.ndarray:
    side = max(3, 2 * round(size / 2) + 1)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
