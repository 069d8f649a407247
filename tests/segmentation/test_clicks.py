import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.clicks import box_around, click_until, error_click, first_click, overlap

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def region(top, left, height, width, shape=(20, 30)):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def slow_depth(mask):
    """Distance of every pixel to the nearest one outside, where the picture has a frame one pixel wide."""
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded)
    depth = np.zeros(mask.shape)
    for y, x in np.argwhere(mask):
        depth[y, x] = np.sqrt(((outside - (y + 1, x + 1)) ** 2).sum(1).min())
    return depth


def test_the_first_click_lies_on_the_object_nearest_its_middle():
    assert first_click(region(4, 10, 5, 7)).tolist() == [13, 6]
    ring = region(0, 0, 9, 9, (9, 9)) & ~region(1, 1, 7, 7, (9, 9))
    assert first_click(ring).tolist() == [4, 0]  # of the four equal ones the first in reading order
    with pytest.raises(ValueError, match="not empty"):
        first_click(np.zeros((3, 3), bool))


def test_the_next_click_goes_into_the_deeper_error():
    truth = region(2, 2, 9, 9)
    point, label = error_click(truth, np.zeros_like(truth))
    assert point.tolist() == [6, 6] and label == 1
    # 9x9 missing is deeper than 3x17 surplus, though not larger by much
    point, label = error_click(truth, region(15, 2, 3, 17))
    assert label == 1
    point, label = error_click(region(2, 2, 3, 17), region(8, 10, 7, 7))
    assert point.tolist() == [13, 11] and label == 0
    # equally deep: the click takes away
    assert error_click(region(2, 2, 5, 5), region(10, 10, 5, 5))[1] == 0


def test_the_border_of_the_picture_is_an_edge():
    everything = np.ones((9, 9), bool)
    point, label = error_click(everything, ~everything)
    assert point.tolist() == [4, 4] and label == 1


@given(mask=masks, seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_click_is_at_the_largest_distance(mask, seed):
    other = np.random.default_rng(seed).random(mask.shape) < 0.5
    (x, y), label = error_click(mask, other)
    missing, surplus = slow_depth(mask & ~other), slow_depth(other & ~mask)
    assert label == int(missing.max() > surplus.max() + 1e-9)
    assert (missing if label else surplus)[int(y), int(x)] == pytest.approx(max(missing.max(), surplus.max()))


def test_the_box_takes_in_all_pieces_and_ends_one_past_the_last_pixel():
    assert box_around(region(3, 4, 2, 5) | region(10, 20, 4, 1)).tolist() == [4, 3, 21, 14]
    assert box_around(region(0, 0, 20, 30).astype(np.uint8) * 255).tolist() == [0, 0, 30, 20]
    with pytest.raises(ValueError, match="not empty"):
        box_around(np.zeros((3, 3), bool))


def test_overlap_of_nothing_is_no_success():
    nothing = np.zeros((2, 2), bool)
    assert overlap(nothing, nothing) == 0.0 and overlap(~nothing, ~nothing) == 1.0


@pytest.mark.parametrize(("widths", "best"), [([4, 8, 6], 2), ([8, 8, 8], 1), ([2, 4, 9], 3)])
def test_the_best_prefix_is_applied_at_the_end(widths, best):
    truth = region(0, 0, 20, 9)
    calls = []

    def decode(points, labels):
        calls.append((points.tolist(), labels.tolist()))
        return region(0, 0, 20, widths[len(points) - 1])

    mask, prefix = click_until(truth, decode)
    assert prefix == best and mask.sum() == 20 * widths[best - 1]
    assert [len(points) for points, _ in calls] == [1, 2, 3, best]
    assert calls[-1] == calls[best - 1] and calls[0] == ([first_click(truth).tolist()], [1])


def test_a_given_mask_is_corrected_from_the_first_click_on():
    truth, bad = region(2, 2, 9, 9), region(10, 10, 9, 9)
    calls = []
    click_until(truth, lambda points, labels: calls.append(labels.tolist()) or truth, 3, bad)
    _, label = error_click(truth, bad)
    assert calls[0] == [label]
