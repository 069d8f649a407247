"""RobotSeg and SAM 2 behind the segmenter's surface, with a stand-in that keeps the video predictor's rules."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from segmentation.errors import PromptError, WeightsError
from segmentation.prompts import Prompt, parse_prompts
from segmentation.tracker import TrackerSegmenter, load_tracker

COLOURS = {"arm": 1, "gripper": 2, "robot": 3}  # bits of the red channel: robot = arm or gripper
H, W, COUNT = 6, 8, 6


class FakePredictor:
    """An object is a set of pixel values, of what was clicked; `log` says in which order it was asked what."""

    def __init__(self):
        self.log = []

    def init_state(self, frames):
        return {"frames": frames, "want": {}, "parts": {}, "masks": {}, "tracked": set(), "prompted": set()}

    def reset_state(self, state):
        state.update(want={}, parts={}, masks={}, tracked=set(), prompted=set())

    def _result(self, state, t):
        rows = []
        for number, values in state["want"].items():
            inside = state["masks"].get((number, t), np.isin(state["frames"][t][..., 0], list(values)))
            rows.append(np.where(inside, 4.0, -4.0))
        return t, list(state["want"]), torch.tensor(np.stack(rows), dtype=torch.float32)[:, None]

    def add_new_robot(self, state, t, number, part):
        self.log.append(("auto", t, part))
        state["want"][number] = {v for v in (1, 2) if v & COLOURS[part]}
        state["prompted"].add(number)
        return self._result(state, t)

    def add_new_points_or_box(self, state, t, number, points=None, labels=None, box=None, part=None):
        self.log.append(("box" if box is not None else "click", t, part, t in state["tracked"]))
        image = state["frames"][t][..., 0]
        want = state["want"].setdefault(number, set())
        state["prompted"].add(number)
        for (x, y), label in zip(points if points is not None else (), labels if labels is not None else ()):
            (want.add if label else want.discard)(int(image[int(y), int(x)]))
        if box is not None:
            x0, y0, x1, y1 = np.asarray(box).astype(int)
            want.update(int(v) for v in np.unique(image[y0:y1, x0:x1]) if v)
        return self._result(state, t)

    def add_new_mask(self, state, t, number, mask, part=None):
        self.log.append(("mask", t, part))
        image = state["frames"][t][..., 0]
        state["want"][number] = {int(v) for v in np.unique(image[mask]) if v}
        state["masks"][number, t] = mask
        state["prompted"].add(number)
        return self._result(state, t)

    def propagate_in_video(self, state, start_frame_idx=None, max_frame_num_to_track=None, reverse=False, part=None):
        self.log.append(("track", start_frame_idx, max_frame_num_to_track, reverse))
        assert state["want"] and state["prompted"] == set(state["want"])
        count = len(state["frames"])
        last = count - 1 if max_frame_num_to_track is None else min(count - 1, start_frame_idx + max_frame_num_to_track)
        for t in range(start_frame_idx, -1, -1) if reverse else range(start_frame_idx, last + 1):
            state["tracked"].add(t)
            yield self._result(state, t)


def video(empty=0):
    """Rows of arm (1) and gripper (2), another robot (4, 5) below; frames before `empty` are black."""
    image = np.zeros((H, W, 3), np.uint8)
    image[1, 1:4, 0], image[1, 4:6, 0] = 1, 2
    image[4, 1:4, 0], image[4, 4:6, 0] = 4, 5
    return [image if t >= empty else np.zeros_like(image) for t in range(COUNT)]


def run(texts, automatic=True, parts=(), frames=None, prompts=None):
    fake = FakePredictor()
    segmenter = TrackerSegmenter(fake, automatic=automatic)
    prompts = parse_prompts(texts) if prompts is None else prompts
    return dict(segmenter.track(frames or video(), prompts, parts)), fake.log


def inside(masks, part):
    return {(int(y), int(x)) for y, x in np.argwhere(masks[part] > 0.5)}


ARM, GRIPPER = {(1, 1), (1, 2), (1, 3)}, {(1, 4), (1, 5)}


def test_automatic_gives_probabilities_of_all_parts_in_one_pass():
    found, log = run([])
    assert sorted(found) == list(range(COUNT))
    for masks in found.values():
        assert set(masks) == {"robot", "arm", "gripper"}
        assert inside(masks, "arm") == ARM and inside(masks, "gripper") == GRIPPER
        assert inside(masks, "robot") == ARM | GRIPPER
        assert masks["arm"].dtype == np.float32 and masks["arm"][1, 1] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)
    assert [entry for entry in log if entry[0] == "track"] == [("track", 0, None, False)]
    assert [entry[:2] for entry in log[:3]] == [("auto", 0)] * 3


def test_automatic_starts_where_the_robot_appears():
    found, log = run([], frames=video(empty=3), parts=("gripper",))
    assert [len(inside(found[t], "gripper")) for t in range(COUNT)] == [0, 0, 0, 2, 2, 2]
    assert log == [*(("auto", t, "gripper") for t in range(4)), ("track", 3, None, False)]
    found, log = run([], frames=video(empty=COUNT))
    assert len(found) == COUNT and not any(masks["robot"].any() for masks in found.values())
    assert not any(entry[0] == "track" for entry in log)


@pytest.mark.parametrize("automatic", [True, False])
@pytest.mark.parametrize("kind", ["click", "box", "mask"])
def test_one_prompt_goes_forwards_then_backwards(kind, automatic):
    part = None
    prompts = {
        "click": parse_prompts([("click", "2:2,1,+"), ("click", "2:4,1,+")]),
        "box": parse_prompts([("box", "2:0,0,7,3")]),
        "mask": [Prompt(2, part, mask=video()[2][..., 0] % 4 > 0)],
    }[kind]
    if kind == "mask":
        prompts[0].mask[4] = False
    frames = video()
    found, log = run([], automatic, ("robot",), frames, prompts)
    assert sorted(found) == list(range(COUNT)) and all(inside(m, "robot") == ARM | GRIPPER for m in found.values())
    assert log[0][:3] == (kind, 2, "robot" if automatic else None)
    assert log[1:] == [("track", 2, None, False), ("track", 2, None, True)]


def test_on_the_first_frame_nothing_is_left_to_go_back_to():
    _, log = run([("click", "0:2,1,+")], False)
    assert log[1:] == [("track", 0, None, False)]


def test_a_later_prompt_corrects_what_was_tracked():
    found, log = run([("click", "1:2,1,+"), ("click", "3:4,1,+"), ("click", "4:1,1,-")], parts=("robot",))
    sizes = [len(inside(found[t], "robot")) for t in range(COUNT)]
    assert sizes[1:4] == [3, 3, 5] and sizes[4:] == [2, 2]
    assert log == [
        ("click", 1, "robot", False), ("track", 1, 2, False), ("click", 3, "robot", True), ("track", 4, 0, False),
        ("click", 4, "robot", True), ("track", 5, None, False), ("track", 1, None, True),
    ]  # fmt: skip


def test_parts_that_nobody_pointed_at_stay_within_the_robot_that_was():
    found, _ = run([("click", "0:2,1,+")])  # of the robot only its arm's value is clicked: the gripper is outside
    assert inside(found[3], "robot") == ARM == inside(found[3], "arm") and inside(found[3], "gripper") == set()
    found, log = run([("click", "gripper@2:4,4,+")])
    assert inside(found[0], "gripper") == {(4, 4), (4, 5)} and inside(found[0], "robot") == ARM | GRIPPER
    assert ("auto", 2, "robot") in log and ("auto", 2, "arm") in log and ("auto", 2, "gripper") not in log


def test_robotseg_takes_clicks_outside_as_corrections_of_what_it_finds():
    found, log = run([("click", "0:4,1,-")], parts=("robot",))
    assert inside(found[0], "robot") == ARM and [e[0] for e in log[:2]] == ["auto", "click"]
    found, log = run([("click", "0:2,1,+"), ("click", "gripper@3:5,1,-")])
    assert ("auto", 0, "gripper") in log and ("click", 3, "gripper", True) in log


def test_sam2_needs_to_be_told():
    with pytest.raises(PromptError, match="SAM 2 has no automatic mode: point at the robot, for example with --click"):
        run([], False)
    with pytest.raises(PromptError, match=r"point at the gripper, .*--click gripper@0:X,Y"):
        run([("click", "0:1,1,+")], False, ("gripper",))
    with pytest.raises(PromptError, match="needs a click inside"):
        run([("click", "0:1,1,-")], False)
    found, log = run([("click", "2:2,1,+"), ("click", "gripper@4:4,1,+")], False)
    assert set(found[0]) == {"robot", "gripper"} and inside(found[0], "gripper") == GRIPPER
    assert [entry[:2] for entry in log[:2]] == [("click", 2), ("click", 4)]
    assert {entry[2] for entry in log if entry[0] == "click"} == {None}


def test_the_part_left_out_and_robot_are_the_same():
    found, log = run([("click", "0:2,1,+"), ("click", "robot@0:4,1,+")], parts=("robot",))
    assert [entry[0] for entry in log] == ["click", "track"] and inside(found[0], "robot") == ARM | GRIPPER


def test_prompts_are_checked_before_anything_is_computed():
    for texts, words in (([("click", "9:1,1,+")], "has 6 frames"), ([("box", "0:1,1,99,2")], "outside")):
        with pytest.raises(PromptError, match=words):
            run(texts)


def test_in_order_through_the_plain_surface():
    segmenter = TrackerSegmenter(FakePredictor(), automatic=True)
    assert [len(inside(m, "arm")) for m in segmenter.segment(video(empty=2), parts=("arm",))] == [0, 0, 3, 3, 3, 3]
    found = list(segmenter.segment(video(), parse_prompts([("click", "4:2,1,+")]), ("robot",)))
    assert len(found) == COUNT and all(inside(m, "robot") == ARM for m in found)


def test_without_the_sam2_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sam2", None)
    with pytest.raises(WeightsError, match=r"package sam2.*pip install .urdfit\[robotseg\]"):
        load_tracker("robotseg", {})
