"""What the video predictors of RobotSeg and SAM 2 do with prompts; weights are drawn, pictures 128x128.

SAM 2's is compared with sam2's own, and RobotSeg's with that where no part is asked for.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

pytest.importorskip("sam2", reason="the package sam2 is not installed")
pytest.importorskip("hydra", reason="the package hydra-core is not installed")

from robotseg_tiny import (
    HEIGHT,
    WIDTH,
    masks,
    original_sam2,
    remembering,
    sam2_weights,
    same,
    tiny_robotseg,
    video,
    write_video,
)

from segmentation.errors import VideoError, WeightsError
from segmentation.robotseg import linear
from segmentation.robotseg.behaviour import MENDED
from segmentation.robotseg.build import build_robotseg, build_sam2
from segmentation.robotseg.reading import MemoryReading
from segmentation.robotseg.streaming import StreamingPredictor

CLICK, OTHER, OFF = (50.0, 60.0), (70.0, 45.0), (12.0, 10.0)
BOX = np.array([30, 32, 95, 90], np.float32)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[30:70, 40:80] = True
PARTS = ("arm", "gripper", "robot")


@pytest.fixture(autouse=True, scope="module")
def plainly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryReading, "fast", False)  # the kernel would be compiled first
        patch.setattr(linear, "_fused", None)  # rounds otherwise than sam2's own layers
        patch.setattr(StreamingPredictor, "keep_corrections", True)
        yield


@pytest.fixture(scope="module")
def robotseg():
    return tiny_robotseg()


@pytest.fixture(scope="module")
def sam2(robotseg):
    return remembering(build_sam2(sam2_weights(robotseg), size=128), like=robotseg)


@pytest.fixture(scope="module")
def original(robotseg):
    return remembering(original_sam2(sam2_weights(robotseg)))


def click(predictor, state, t, number, *points, labels=None, **options):
    return predictor.add_new_points_or_box(
        state, t, number, np.array(points, np.float32), labels or [1] * len(points), **options
    )[2]


def play(predictor, state):
    """Every kind of prompt, tracking, a correction, tracking on, and back in time."""
    yield predictor.add_new_points_or_box(state, 2, "box", box=BOX)[2]
    yield predictor.add_new_points_or_box(state, 2, "box", [OTHER], [1], box=BOX)[2]
    yield click(predictor, state, 2, 7, CLICK)
    yield click(predictor, state, 2, 7, CLICK, OFF, labels=[1, 0])
    yield predictor.add_new_points_or_box(state, 2, 7, [OTHER], [1], clear_old_points=False)[2]
    yield predictor.add_new_mask(state, 3, "mask", MASK)[2]
    yield click(predictor, state, 4, 7, CLICK)
    yield from masks(predictor.propagate_in_video(state, max_frame_num_to_track=3)).values()
    yield click(predictor, state, 5, 7, OTHER)
    yield click(predictor, state, 5, 7, OTHER, OFF, labels=[1, 0])
    yield from masks(predictor.propagate_in_video(state, start_frame_idx=6)).values()
    yield from masks(predictor.propagate_in_video(state, start_frame_idx=2, reverse=True)).values()
    yield predictor.clear_all_prompts_in_frame(state, 2, 7)[2]
    yield predictor.remove_object(state, "box")[1][0][1]
    yield click(predictor, state, 1, 7, CLICK)
    yield from masks(predictor.propagate_in_video(state, start_frame_idx=2)).values()


@pytest.fixture(scope="module")
def expected(original, tmp_path_factory):
    folder = write_video(8, tmp_path_factory.mktemp("frames"))
    return list(play(original, original.init_state(folder)))


def test_sam2_does_what_the_original_does(sam2, expected):
    ours = list(play(sam2, sam2.init_state(video(8))))
    assert len(ours) == len(expected)
    assert [torch.equal(a, b) for a, b in zip(ours, expected)] == [True] * len(expected)


def test_robotseg_without_parts_and_structure_is_sam2(robotseg, expected, monkeypatch):
    for layer in robotseg.memory_attention.layers:
        monkeypatch.setattr(layer.structure_strength, "data", torch.zeros(()))
    ours = list(play(robotseg, robotseg.init_state(video(8))))
    assert len(ours) == len(expected)
    assert max(float((a - b).abs().max()) for a, b in zip(ours, expected)) < 1e-4


def test_sam2_has_no_automatic_mode_and_passes_over_parts(sam2):
    state = sam2.init_state(video(3))
    with pytest.raises(WeightsError, match="needs a click, a box or a mask on the arm"):
        sam2.add_new_robot(state, 0, 1, "arm")
    with_part = click(sam2, state, 0, 1, CLICK, part="gripper")
    assert torch.equal(with_part, click(sam2, sam2.init_state(video(3)), 0, 1, CLICK))
    assert [t for t, _, _ in sam2.propagate_in_video(state, part="arm")] == [0, 1, 2]


def prompt(predictor, state, kind, t=0, number=1, part="arm"):
    if kind == "automatic":
        return predictor.add_new_robot(state, t, number, part)
    if kind == "mask":
        return predictor.add_new_mask(state, t, number, MASK, part)
    if kind == "box":
        return predictor.add_new_points_or_box(state, t, number, box=BOX, part=part)
    return predictor.add_new_points_or_box(state, t, number, [CLICK], [1], part=part)


@pytest.mark.parametrize("kind", ["automatic", "click", "box", "mask"])
def test_a_prompted_frame_keeps_its_mask_and_the_part_matters(robotseg, kind):
    found = {}
    for part in ("arm", "gripper"):
        state = robotseg.init_state(video(3))
        t, ids, logits = prompt(robotseg, state, kind, part=part)
        assert (t, ids, logits.shape) == (0, [1], (1, 1, HEIGHT, WIDTH))
        found[part] = masks(robotseg.propagate_in_video(state))
        assert torch.equal(found[part][0], logits)
    assert torch.equal(found["arm"][0], found["gripper"][0]) == (kind == "mask")  # a mask is taken as it is
    assert not torch.equal(found["arm"][1], found["gripper"][1])
    if kind == "mask":
        inside = (found["arm"][0][0, 0] > 0).numpy()
        assert (inside & MASK).sum() > 0.9 * (inside | MASK).sum()  # it went through 32x32 pixels


def test_parts_together_are_as_alone_and_share_the_encoder(robotseg):
    together = robotseg.init_state(video(4))
    robotseg.encoded = 0
    for part in PARTS:
        robotseg.add_new_robot(together, 0, part, part)
    found = masks(robotseg.propagate_in_video(together))
    assert robotseg.encoded == 4
    for number, part in enumerate(PARTS):
        alone = robotseg.init_state(video(4))
        robotseg.add_new_robot(alone, 0, 0, part)
        own = masks(robotseg.propagate_in_video(alone))
        assert same(own, {t: logits[number : number + 1] for t, logits in found.items()})


def test_the_part_of_a_call_holds_for_that_call(robotseg):
    state = robotseg.init_state(video(4))
    robotseg.add_new_robot(state, 0, 1, "arm")
    first = masks(robotseg.propagate_in_video(state))
    other = masks(robotseg.propagate_in_video(state, part="gripper"))
    assert torch.equal(other[0], first[0]) and not torch.equal(other[1], first[1])
    assert same(masks(robotseg.propagate_in_video(state)), first)
    for t, _, _ in robotseg.propagate_in_video(state, part="gripper"):
        if t == 1:
            clicked = click(robotseg, state, 1, 1, CLICK)  # within: the object is still an arm
    masks(robotseg.propagate_in_video(state))
    masks(robotseg.propagate_in_video(state, max_frame_num_to_track=1, part="gripper"))
    assert torch.equal(click(robotseg, state, 1, 1, CLICK, part="arm"), clicked)


def test_a_click_mends_a_tracked_frame_and_what_follows(robotseg):
    state = robotseg.init_state(video(6))
    robotseg.add_new_robot(state, 0, 1, "arm")
    first = masks(robotseg.propagate_in_video(state))
    mended = click(robotseg, state, 3, 1, OTHER, OFF, labels=[1, 0])
    assert not torch.equal(mended, first[3])
    later = masks(robotseg.propagate_in_video(state, start_frame_idx=4))
    assert list(later) == [4, 5] and not torch.equal(later[4], first[4])
    assert set(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == {0}
    alone = click(robotseg, robotseg.init_state(video(6)), 3, 1, OTHER, OFF, labels=[1, 0], part="arm")
    assert not torch.equal(mended, alone), "memories were used"
    assert same(masks(robotseg.propagate_in_video(state)), first)  # tracked over, as in the original: go on behind it


def test_a_mask_on_a_tracked_frame_stays(robotseg):
    state = robotseg.init_state(video(6))
    robotseg.add_new_robot(state, 0, 1, "arm")
    first = masks(robotseg.propagate_in_video(state))
    given = robotseg.add_new_mask(state, 3, 1, MASK)[2]
    again = masks(robotseg.propagate_in_video(state))
    assert all(torch.equal(again[t], first[t]) for t in (0, 1, 2)) and torch.equal(again[3], given)
    assert not torch.equal(again[4], first[4])
    robotseg.clear_all_prompts_in_frame(state, 3, 1)
    assert same(masks(robotseg.propagate_in_video(state)), first)


@pytest.mark.parametrize("kind", ["automatic", "click", "mask"])
def test_a_prompted_frame_can_be_corrected_after_tracking(robotseg, kind):
    state = robotseg.init_state(video(3))
    click(robotseg, state, 0, 1, CLICK, part="arm")
    first = masks(robotseg.propagate_in_video(state))
    mended = prompt(robotseg, state, kind)[2]
    again = masks(robotseg.propagate_in_video(state))
    assert torch.equal(again[0], mended) and not torch.equal(again[0], first[0])
    assert not torch.equal(again[1], first[1])


def test_sam2_loses_corrections_of_a_prompted_frame_if_it_must(sam2, original, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(sam2, "keep_corrections", False)
    for predictor, source in ((sam2, video(2)), (original, write_video(2, tmp_path))):
        state = predictor.init_state(source)
        click(predictor, state, 0, 1, CLICK)
        first = masks(predictor.propagate_in_video(state))
        predictor.add_new_mask(state, 0, 1, MASK)
        again = masks(predictor.propagate_in_video(state))
        assert same(first, again)
        found.append(again)
    assert same(*found)


def test_backwards_is_forwards_in_the_reversed_video(robotseg):
    frames = video(7)
    state = robotseg.init_state(frames)
    robotseg.add_new_robot(state, 4, 1, "robot")
    backward = masks(robotseg.propagate_in_video(state, reverse=True))
    assert list(backward) == [4, 3, 2, 1, 0]
    state = robotseg.init_state(frames[::-1])
    robotseg.add_new_robot(state, 2, 1, "robot")
    forward = masks(robotseg.propagate_in_video(state))
    assert same(backward, {6 - t: logits for t, logits in forward.items()})
    # A click on a frame that was tracked backwards sees what lies after it.
    assert not torch.equal(click(robotseg, state, 4, 1, OTHER), forward[4])


def test_prompts_on_several_frames(robotseg):
    state = robotseg.init_state(video(6))
    robotseg.add_new_robot(state, 4, 1, "arm")
    click(robotseg, state, 1, 1, CLICK)
    click(robotseg, state, 3, 2, OTHER, part="gripper")
    found = masks(robotseg.propagate_in_video(state))
    assert list(found) == [1, 2, 3, 4, 5] and found[1].shape[0] == 2
    assert set(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == {1, 4}
    assert [t for t, _, _ in robotseg.propagate_in_video(state, 2, max_frame_num_to_track=1)] == [2, 3]
    assert [t for t, _, _ in robotseg.propagate_in_video(state, 3, 2, reverse=True)] == [3, 2, 1]


def test_cleared_removed_and_reset(robotseg):
    fresh = robotseg.init_state(video(3))
    robotseg.add_new_robot(fresh, 0, "b", "gripper")
    expected = masks(robotseg.propagate_in_video(fresh))
    state = robotseg.init_state(video(3))
    for obj_id, part in (("a", "arm"), ("b", "gripper"), ("c", "robot")):
        robotseg.add_new_robot(state, 0, obj_id, part)
    click(robotseg, state, 1, "a", CLICK)
    robotseg.remove_object(state, "a")
    ids, _ = robotseg.remove_object(state, "c")
    assert ids == ["b"] and state["parts"] == {"b": "gripper"}
    assert same(masks(robotseg.propagate_in_video(state)), expected)

    robotseg.clear_all_prompts_in_frame(state, 0, "b")
    with pytest.raises(RuntimeError, match="object id b"):
        next(robotseg.propagate_in_video(state))
    click(robotseg, state, 2, "b", CLICK)  # tracked before, but there is nothing left to go by
    robotseg.clear_all_prompts_in_frame(state, 2, "b")
    robotseg.add_new_robot(state, 0, "b", "gripper")
    assert same(masks(robotseg.propagate_in_video(state)), expected)

    robotseg.reset_state(state)
    assert state["parts"] == {} and state["obj_ids"] == []
    with pytest.raises(RuntimeError, match="No input points or masks"):
        next(robotseg.propagate_in_video(state))
    robotseg.add_new_robot(state, 0, "b", "gripper")
    assert same(masks(robotseg.propagate_in_video(state)), expected)
    robotseg.remove_object(state, "b")  # the last one
    assert state["parts"] == {} and state["obj_ids"] == []


def test_a_cleared_mask_is_tracked_over(robotseg):
    state = robotseg.init_state(video(3))
    robotseg.add_new_robot(state, 0, 1, "arm")
    expected = masks(robotseg.propagate_in_video(state))
    state = robotseg.init_state(video(3))
    robotseg.add_new_robot(state, 0, 1, "arm")
    robotseg.add_new_mask(state, 2, 1, MASK)  # prompted before tracking
    robotseg.propagate_in_video_preflight(state)
    robotseg.clear_all_prompts_in_frame(state, 2, 1)
    assert same(masks(robotseg.propagate_in_video(state)), expected)


BAD = {
    "part": (lambda p, s, n: p.add_new_robot(s, 0, n, "head"), ValueError, "head.*arm, gripper, robot"),
    "click's part": (lambda p, s, n: click(p, s, 0, n, CLICK, part="x"), ValueError, "part 'x'"),
    "mask's part": (lambda p, s, n: p.add_new_mask(s, 0, n, MASK, part="x"), ValueError, "part 'x'"),
    "late": (lambda p, s, n: p.add_new_robot(s, 3, n, "robot"), IndexError, "frame 3.*0 to 2"),
    "early": (lambda p, s, n: p.add_new_robot(s, -1, n, "robot"), IndexError, "frame -1.*0 to 2"),
    "late click": (lambda p, s, n: click(p, s, 99, n, CLICK), IndexError, "frame 99.*0 to 2"),
    "early mask": (lambda p, s, n: p.add_new_mask(s, -2, n, MASK), IndexError, "frame -2.*0 to 2"),
    "half a frame": (lambda p, s, n: p.add_new_mask(s, 0.5, n, MASK), TypeError, "float"),
    "nothing": (lambda p, s, n: p.add_new_points_or_box(s, 0, n), ValueError, "points or box"),
    "no labels": (lambda p, s, n: p.add_new_points_or_box(s, 0, n, [CLICK]), ValueError, "together"),
    "too few labels": (lambda p, s, n: click(p, s, 0, n, CLICK, OFF, labels=[1]), ValueError, r"\(2, 2\) and 1"),
    "three coordinates": (lambda p, s, n: click(p, s, 0, n, (1, 2, 3)), ValueError, r"\(N,2\)"),
    "half a box": (lambda p, s, n: p.add_new_points_or_box(s, 0, n, box=BOX[:2]), ValueError, "x0, y0, x1, y1"),
    "no mask": (lambda p, s, n: p.add_new_mask(s, 0, n, MASK[None]), ValueError, r"\(H,W\)"),
    "cleared": (lambda p, s, n: p.clear_all_prompts_in_frame(s, 0, "nobody"), KeyError, "nobody"),
    "removed": (lambda p, s, n: p.remove_object(s, "nobody", strict=True), RuntimeError, "nobody"),
    "start": (lambda p, s, n: next(p.propagate_in_video(s, 3)), IndexError, "frame 3.*0 to 2"),
    "early start": (lambda p, s, n: next(p.propagate_in_video(s, -1)), IndexError, "frame -1.*0 to 2"),
    "part of all": (lambda p, s, n: next(p.propagate_in_video(s, part="x")), ValueError, "part 'x'"),
}


@pytest.fixture(scope="module")
def small(robotseg):
    MemoryReading.fast, before = False, MemoryReading.fast
    state = robotseg.init_state(video(3))
    robotseg.add_new_robot(state, 0, 1, "arm")
    click(robotseg, state, 1, 1, CLICK)
    found = masks(robotseg.propagate_in_video(state))
    MemoryReading.fast = before
    return found


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("name", BAD)
def test_nothing_changes_on_an_error(robotseg, small, name, known):
    call, kind, message = BAD[name]
    state = robotseg.init_state(video(3))
    robotseg.add_new_robot(state, 0, 1, "arm")
    click(robotseg, state, 1, 1, CLICK)
    before = {key: repr(state[key]) for key in ("obj_ids", "parts", "point_inputs_per_obj", "mask_inputs_per_obj")}
    with pytest.raises(kind, match=message):
        call(robotseg, state, 1 if known else "new")
    assert {key: repr(state[key]) for key in before} == before
    for per_object in ("output_dict_per_obj", "temp_output_dict_per_obj", "frames_tracked_per_obj", "obj_idx_to_id"):
        assert list(state[per_object]) == [0]
    if not known:  # tracking takes its time
        assert same(masks(robotseg.propagate_in_video(state)), small)


def test_a_frame_that_cannot_be_read_changes_nothing(robotseg, small):
    frames = [*video(3), np.zeros((HEIGHT, WIDTH, 3), np.float32)]
    state = robotseg.init_state(frames)
    with pytest.raises(VideoError, match=r"frame 3 is \(96, 128, 3\) float32; expected"):
        robotseg.add_new_robot(state, 3, 1, "arm")
    assert state["obj_ids"] == [] and state["parts"] == {}
    with pytest.raises(VideoError, match="uint8"):
        robotseg.init_state(frames[::-1])
    with pytest.raises(VideoError, match="empty"):
        robotseg.init_state([])
    with pytest.raises(ValueError, match="history 15: tracking looks back 16 frames"):
        robotseg.init_state(video(3), history=15)


def test_objects_may_come_but_not_go_while_tracking(robotseg):
    state = robotseg.init_state(video(4))
    for number in (1, 2):
        robotseg.add_new_robot(state, 0, number, "arm")
    tracking = robotseg.propagate_in_video(state)
    next(tracking)
    click(robotseg, state, 0, 3, CLICK)
    _, ids, logits = next(tracking)
    assert ids == [1, 2] and logits.shape[0] == 2
    robotseg.remove_object(state, 1)
    with pytest.raises(RuntimeError, match="frame 2: objects were removed"):
        next(tracking)
    assert next(robotseg.propagate_in_video(state))[1] == [2, 3]


@pytest.fixture
def thin(robotseg):
    """One layer of attention to memories in place of four: for long videos."""
    layers = robotseg.memory_attention.layers
    robotseg.memory_attention.layers = layers[:1]
    yield robotseg
    robotseg.memory_attention.layers = layers


def long_run(predictor, history):
    state = predictor.init_state(video(44), history=history)
    predictor.add_new_robot(state, 8, 1, "arm")
    forward = masks(predictor.propagate_in_video(state))
    return state, {**forward, **masks(predictor.propagate_in_video(state, start_frame_idx=8, reverse=True))}


def test_a_short_history_changes_no_mask(thin):
    short, found = long_run(thin, 16)
    long, expected = long_run(thin, 512)
    assert same(found, expected) and len(found) == 44
    assert len(long["output_dict_per_obj"][0]["non_cond_frame_outputs"]) == 43
    held = short["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    assert set(held) == {*range(24)} - {8}  # around frame 0, where it is now, and around the prompt

    for add in (
        lambda: click(thin, short, 43, 1, CLICK),
        lambda: thin.add_new_robot(short, 35, 1, "arm"),
        lambda: thin.add_new_mask(short, 35, 1, MASK),
        lambda: next(thin.propagate_in_video(short, start_frame_idx=40)),
        lambda: next(thin.propagate_in_video(short, start_frame_idx=20, reverse=True)),
    ):
        with pytest.raises(
            RuntimeError, match=r"object 1: memories of frames \d+ to \d+ are no longer held; .*=[34]\d"
        ):
            add()
    assert torch.equal(click(thin, short, 5, 1, CLICK), click(thin, long, 5, 1, CLICK))
    click(thin, short, 40, 2, CLICK)  # a new object was tracked nowhere
    with pytest.raises(RuntimeError, match="frame 40, object 1"):
        next(thin.propagate_in_video(short, start_frame_idx=40))
    thin.remove_object(short, 2)
    thin.reset_state(short)
    click(thin, short, 40, 1, CLICK)


def test_a_given_mask_outlives_the_history(thin):
    state = thin.init_state(video(34), history=16)
    thin.add_new_robot(state, 0, 1, "arm")
    masks(thin.propagate_in_video(state, max_frame_num_to_track=16))
    given = thin.add_new_mask(state, 16, 1, MASK)[2]
    masks(thin.propagate_in_video(state, start_frame_idx=17))
    kept = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    assert 33 - 16 > state["history"] and torch.equal(
        masks(thin.propagate_in_video(state, start_frame_idx=16, max_frame_num_to_track=0))[16], given
    )
    assert kept[16]["frozen"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(thin):
    found, size, process = {}, {}, {}
    frames = video(16) * 40
    for history in (32, 1000):
        state = thin.init_state(frames, history=history)
        thin.add_new_robot(state, 0, 1, "robot")
        found[history] = []
        for t, _, logits in thin.propagate_in_video(state):
            found[history].append(float(logits.double().sum()))
            if t in (320, 639):
                size[history, t], process[history, t] = held_bytes(state), resident()
        assert len(state["output_dict_per_obj"][0]["non_cond_frame_outputs"]) == min(history + 1 + 15, 639)
    assert len(found[32]) == 640 and found[32] == found[1000]
    assert size[32, 639] == size[32, 320]  # and without forgetting, a frame is memory, mask, pointer and score:
    assert size[1000, 639] - size[1000, 320] == 319 * (2 * 64 * 8 * 8 + 4 * 32 * 32 + 4 * 256 + 4)
    assert process[32, 639] - process[32, 320] < 4 * 2**20


def held_bytes(state):
    """Bytes of all different tensors in a state, with what they are views of."""
    found, waiting = {}, [value for name, value in state.items() if name != "images"]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return sum(found.values())


def resident():
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def test_one_frame_and_frame_zero_backwards(robotseg):
    state = robotseg.init_state(video(1))
    logits = robotseg.add_new_robot(state, 0, 1, "robot")[2]
    assert same(masks(robotseg.propagate_in_video(state)), {0: logits})
    assert masks(robotseg.propagate_in_video(state, reverse=True)) == {}  # as in sam2


@pytest.mark.parametrize("mask", [np.zeros_like(MASK), np.ones_like(MASK)], ids=["nothing", "all"])
def test_a_mask_of_nothing_or_of_everything(robotseg, mask):
    state = robotseg.init_state(video(3))
    logits = robotseg.add_new_mask(state, 0, 1, mask, "arm")[2]
    assert np.array_equal((logits[0, 0] > 0).numpy(), mask)
    found = masks(robotseg.propagate_in_video(state))
    assert all(torch.isfinite(logits).all() for logits in found.values())


def test_frames_without_a_robot(robotseg, monkeypatch):
    bias = robotseg.sam_mask_decoder.pred_obj_score_head.layers[2].bias
    monkeypatch.setattr(bias, "data", torch.full((1,), -1e4))
    state = robotseg.init_state(video(3))
    robotseg.add_new_robot(state, 0, 1, "arm")
    found = masks(robotseg.propagate_in_video(state))
    assert [float(logits.max()) for logits in found.values()] == [-1024.0] * 3
    monkeypatch.undo()
    MemoryReading.fast = False
    again = masks(robotseg.propagate_in_video(state, start_frame_idx=1))
    assert all(torch.isfinite(logits).all() for logits in again.values())


def test_another_size_and_behaviour(robotseg):
    larger = build_robotseg(robotseg.state_dict(), size=256, behaviour=MENDED)
    state = larger.init_state(video(2))
    larger.add_new_robot(state, 0, 1, "arm")
    found = masks(larger.propagate_in_video(state))
    assert all(logits.shape == (1, 1, HEIGHT, WIDTH) and torch.isfinite(logits).all() for logits in found.values())
    with pytest.raises(ValueError, match="size 192: expected a multiple of 128"):
        build_robotseg(size=192)
