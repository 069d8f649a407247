"""The benchmark's modes against a predictor that finds parts by colour."""

import numpy as np
import pytest
from vrs_cases import ByColour, make_vrs, truths

from segmentation import MaskError
from segmentation.automatic import AutomaticPredictor
from segmentation.clicks import box_around, first_click
from segmentation.errors import WeightsError
from segmentation.protocol import Prompting, Usage, segment_video
from segmentation.vrs import LabelledVideos


@pytest.fixture
def video(tmp_path):
    return LabelledVideos(make_vrs(tmp_path, ("a",))).open("a")


def run(predictor, video, starts, mode, **options):
    usage = Usage()
    frames = [
        (t, dict(masks), first)
        for t, masks, first in segment_video(predictor, video, starts, Prompting(mode, **options), usage)
    ]
    return frames, usage


def test_automatic_parts_that_start_together_share_a_pass(video):
    predictor = ByColour()
    frames, usage = run(predictor, video, {"arm": 0, "gripper": 1, "robot": 0}, "AU")
    assert [s.calls for s in predictor.states] == [
        [("robot", 0, "arm"), ("robot", 0, "robot"), ("propagate", 0, ("arm", "robot"))],
        [("robot", 1, "gripper"), ("propagate", 1, ("gripper",))],
    ]
    assert [(t, sorted(masks), first) for t, masks, first in frames] == [
        *((t, ["arm", "robot"], t == 0) for t in range(4)),
        *((t, ["gripper"], t == 1) for t in range(1, 4)),
    ]
    for t, masks, _ in frames:
        for part, mask in masks.items():
            assert mask.dtype == bool and (mask == truths(t)[part]).all()
    assert usage.frames == 7 and usage.seconds > 0 and usage.corrected == {"arm": [], "gripper": [], "robot": []}


def test_one_click_and_box_are_given_once_on_the_start_frame(video):
    for mode, expected in (
        ("1C", ("points", 1, "gripper", [first_click(truths(1)["gripper"]).tolist()])),
        ("BB", ("box", 1, "gripper", box_around(truths(1)["gripper"]).tolist())),
    ):
        predictor = ByColour()
        frames, _ = run(predictor, video, {"gripper": 1}, mode)
        assert predictor.states[0].calls == [expected, ("propagate", 1, ("gripper",))]
        assert [t for t, _, _ in frames] == [1, 2, 3]


def test_three_clicks_grow_and_the_best_prefix_is_given_again(video):
    predictor = ByColour()
    run(predictor, video, {"arm": 0}, "3C")
    assert [len(call[3]) for call in predictor.states[0].calls[:-1]] == [1, 2, 3, 1]


def test_corrections_set_in_where_the_mask_is_bad(video):
    predictor = ByColour(fails_from=2)
    frames, usage = run(predictor, video, {"arm": 0, "robot": 0}, "OI")
    calls = predictor.states[0].calls
    assert usage.corrected == {"arm": [2], "robot": [2]}
    assert [c[1] for c in calls if c[0] == "propagate"] == [0, 3] and not any(c[0] == "clear" for c in calls)
    assert [len(c[3]) for c in calls if c[:3] == ("points", 2, "arm")] == [1, 2, 3, 1]
    assert [t for t, _, _ in frames] == [0, 1, 2, 3] and usage.frames == 4
    for t, masks, _ in frames:
        assert (masks["arm"] == truths(t)["arm"]).all()


def test_at_most_so_many_frames_are_corrected(video, tmp_path):
    class Forgetful(ByColour):
        def answer(self, state, index):
            state.masks = {k: v for k, v in state.masks.items() if k[1] == index}
            return super().answer(state, index)

    frames, usage = run(Forgetful(fails_from=1), video, {"arm": 0}, "OI", corrections=2)
    assert usage.corrected == {"arm": [1, 2]}
    assert [bool(masks["arm"].any()) for _, masks, _ in frames] == [True, True, True, False]


@pytest.mark.parametrize("keep", [False, True])
def test_a_correction_that_makes_it_worse_is_withdrawn(video, keep):
    class Worse(ByColour):
        def answer(self, state, index):
            masks = {i: self.find(state, index, p) for i, p in state.objects.items()}
            if index == 2:
                masks = {i: state.masks.get((i, 2), m & (np.arange(60) < 18)) for i, m in masks.items()}
            import torch

            return index, list(masks), torch.from_numpy(np.array(list(masks.values()))[:, None] * 2.0 - 1)

    predictor = Worse(learns=False, fails_from=2)
    frames, usage = run(predictor, video, {"arm": 0}, "OI", keep_rejected=keep)
    assert usage.corrected == {"arm": []}
    calls = predictor.states[0].calls
    assert (("clear", 2, "arm") in calls) != keep and sum(c[0] == "propagate" for c in calls) == 1
    assert frames[2][1]["arm"].any()


def test_frames_without_truth_are_not_corrected(tmp_path):
    video = LabelledVideos(make_vrs(tmp_path, ("a",), labelled=(0, 3))).open("a")
    predictor = ByColour(fails_from=1)
    _, usage = run(predictor, video, {"arm": 0}, "OI")
    assert usage.corrected == {"arm": [3]}  # the last frame: nothing is left to propagate
    assert sum(c[0] == "propagate" for c in predictor.states[0].calls) == 1


def test_masks_of_another_size_are_refused(video):
    class Small(ByColour):
        def answer(self, state, index):
            index, numbers, logits = super().answer(state, index)
            return index, numbers, logits[..., ::2, ::2]

    with pytest.raises(MaskError, match=r"masks of shape \(20, 30\), the frames have \(40, 60\)"):
        run(Small(), video, {"arm": 0}, "AU")


def test_modes_are_checked():
    with pytest.raises(ValueError, match="AU, 1C, 3C, BB, OI"):
        Prompting("5C")


def test_a_segmenter_without_prompts(video):
    class Segmenter:
        parts = ("robot", "arm")

        def segment(self, frames):
            for image in frames:
                arm = (image[..., 0] > 150).astype(np.float32)
                yield {"arm": arm, "robot": np.maximum(arm, (image[..., 1] > 150) * 0.9).astype(np.float32)}

    predictor = AutomaticPredictor(Segmenter())
    frames, _ = run(predictor, video, {"arm": 1, "robot": 1}, "AU")
    assert [t for t, _, _ in frames] == [1, 2, 3]
    assert all((masks[p] == truths(t)[p]).all() for t, masks, _ in frames for p in masks)
    with pytest.raises(WeightsError, match="knows robot, arm, not 'gripper'"):
        run(predictor, video, {"gripper": 1}, "AU")
    with pytest.raises(WeightsError, match="no clicks or boxes"):
        run(predictor, video, {"arm": 0}, "1C")
