"""Batches of clips: what is labelled, what is rough, what shows, and the same at every call."""

import numpy as np
import pytest
from let_cases import DrawnClip, Empty, Listed

from segmentation.training import let_batches
from segmentation.training.let_batches import Batches, BatchSettings
from segmentation.training.shards import IGNORE

SMALL = BatchSettings(size=128, frames=5, pictures=3)


def batches(*clips, pictures=False, settings=SMALL, seed=0):
    return Batches([Listed(list(clips), pictures)], settings, seed)


def test_a_batch_is_the_same_at_every_call():
    one, other = (batches(DrawnClip(), DrawnClip("arm"), DrawnClip("gripper")) for _ in range(2))
    for n in (4, 0, 9):
        a, b = one[n], other[n]
        assert (a.pictures == b.pictures).all() and (a.masks == b.masks).all()
        assert (a.kind, a.parts, a.seed, a.labelled) == (b.kind, b.parts, b.seed, b.labelled)
    assert (one[0].pictures.mean((0, 1, 2, 3)) != batches(DrawnClip(), seed=1)[0].pictures.mean((0, 1, 2, 3))).any()


def test_labels_of_the_first_frame_come_back_last():
    made = batches(DrawnClip(labels=1))
    for n in range(6):
        batch = made[n]
        count = len(batch.pictures)
        assert count == 5 and batch.labelled == (True, False, False, False, True) and batch.parts == (2,)
        assert (batch.masks[0] == batch.masks[-1]).all() and set(np.unique(batch.masks[0])) == {0, 1}
        assert (batch.masks[1:-1] == IGNORE).all() and not batch.rough
        assert (batch.pictures[0] != batch.pictures[-1]).any()  # each frame has a jitter of its own


def test_later_labels_are_used_unless_they_are_not_wanted():
    assert all(all(batches(DrawnClip())[n].labelled) for n in range(4))
    sparse = batches(DrawnClip(), settings=BatchSettings(128, 5, 3, dense=False))
    assert {sparse[n].labelled for n in range(4)} == {(True, False, False, False, True)}


def test_clips_start_where_enough_frames_follow():
    asked: list[int] = []

    class Long(DrawnClip):
        def __init__(self):
            super().__init__(labels=8)

        def __len__(self):
            return 8

        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index % 5)

    made, starts = batches(Long()), set()
    for n in range(30):
        asked.clear()
        assert len(made[n].pictures) == 5
        starts.add(min(asked))
    assert starts == {0, 1, 2, 3}


def test_rough_masks_are_reduced_to_patches():
    batch = batches(DrawnClip(labels=1, rough=True))[0]
    assert set(batch.rough) == {1, 2, 3} and batch.rough[1].shape == (1, 8, 8)
    # the drawn robot moves little: its rough mask covers about what its label covers
    assert batch.rough[1].mean() == pytest.approx((batch.masks[0] == 1).mean(), abs=0.03)


def test_pictures_make_batches_of_several_parts():
    batch = batches(DrawnClip("arm"), DrawnClip("gripper"), DrawnClip("robot"), pictures=True)[0]
    assert batch.pictures.shape == (1, 3, 128, 128, 3) and sorted(batch.parts) == [0, 1, 2]
    areas = dict(zip(batch.parts, (batch.masks[0] == 1).sum((1, 2))))
    assert areas[1] < areas[0] < areas[2]


def test_objects_that_do_not_show_are_not_pointed_at():
    made = batches(Empty(), DrawnClip())
    kinds = {}
    for n in range(24):
        batch = made[n]
        kinds.setdefault(bool((batch.masks[0] == 1).any()), set()).add(batch.kind)
    assert kinds[False] == {"automatic"} and kinds[True] == {"automatic", "mask", "box", "click"}
    assert {batches(Empty())[n].kind for n in range(20)} == {"automatic"}


def test_a_clip_of_one_frame_gets_no_mask_prompt():
    class One(DrawnClip):
        def __init__(self):
            super().__init__(labels=1)

        def __len__(self):
            return 1

    assert {batches(One())[n].kind for n in range(30)} == {"automatic", "box", "click"}


def test_a_turn_that_would_lose_the_object_is_left_out(monkeypatch):
    def away(rng):
        return let_batches.Change(False, np.full((2, 2), 50.0), (1.0, 1.0, 1.0), False)

    monkeypatch.setattr(let_batches, "draw_change", away)
    assert (batches(DrawnClip())[0].masks[0] == 1).any()
