"""Masks come off the shelf as they were put there, and no more are kept than fit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pose.shelf import Shelf
from pose.targets import Targets


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 2))
def test_planes_come_back_to_a_level(seed, count):
    rng = np.random.default_rng(seed)
    planes = np.zeros((count, 12, 17), np.float32)
    (y0, y1), (x0, x1) = np.sort(rng.integers(0, 13, 2)), np.sort(rng.integers(0, 18, 2))
    planes[:, y0:y1, x0:x1] = rng.random((count, y1 - y0, x1 - x0))
    shelf = Shelf()
    put, back = shelf.put(3, planes), shelf.get(3)
    np.testing.assert_array_equal(put, back)
    assert back is not None and back.shape == planes.shape and back.dtype == np.float32
    np.testing.assert_allclose(back, planes, atol=0.5001 / 255)
    assert shelf.get(4) is None


def test_what_does_not_fit_is_not_kept():
    shelf = Shelf(150)
    for key in range(3):
        shelf.put(key, np.ones((1, 8, 8), np.float32))
    assert [shelf.get(key) is not None for key in range(3)] == [True, True, False]


def test_targets_read_a_frame_once_only_when_they_may_keep_it():
    class Counted(list):
        reads = 0

        def __getitem__(self, t):
            Counted.reads += 1
            return super().__getitem__(t)

    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:45] = 255
    for keep in (True, False):
        masks = Counted([{"robot": mask}, {"robot": mask[::-1].copy()}])
        targets = Targets(masks, None, keep=keep)
        Counted.reads = 0
        first = [targets.read(t, 30) for t in (0, 1)]
        again = [targets.read(t, 30) for t in (0, 1)]
        assert Counted.reads == (2 if keep else 4)
        np.testing.assert_array_equal(np.stack(first), np.stack(again))


def test_masks_that_change_are_read_again_even_when_they_were_empty():
    """A live tracker puts the next picture's masks where the last one's were."""
    masks = [{"robot": np.zeros((40, 60), np.uint8)}]
    targets = Targets(masks, None)
    assert targets.read(0, 30).max() == 0
    masks[0] = {"robot": np.full((40, 60), 255, np.uint8)}
    assert targets.read(0, 30).min() == 1
