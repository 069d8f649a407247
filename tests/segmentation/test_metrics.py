"""J and F against values worked out by hand, and F against the definition done slowly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation import boundary_f, jaccard
from segmentation.metrics import outline


def square(size, top, left, side):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


def slow_outline(mask):
    """DAVIS's outline, pixel by pixel: the mask differs between the pixel and its right, lower or diagonal one."""
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if y == height - 1:
                others = [(y, x + 1)]  # the last row looks right only, the last column down only
            elif x == width - 1:
                others = [(y + 1, x)]
            others = [(b, a) for b, a in others if b < height and a < width]
            if any(mask[y, x] != mask[o] for o in others):
                found.add((y, x))
    return found


def slow_boundary_f(predicted, truth):
    """F from distances between all pairs of outline pixels."""
    mine, true = slow_outline(predicted), slow_outline(truth)
    radius = np.ceil(0.008 * np.sqrt(predicted.shape[0] ** 2 + predicted.shape[1] ** 2))

    def share(some, others):
        near = [any((a - c) ** 2 + (b - d) ** 2 <= radius**2 for c, d in others) for a, b in some]
        return sum(near) / len(near)

    if not mine and true:
        precision, recall = 1.0, 0.0
    elif mine and not true:
        precision, recall = 0.0, 1.0
    elif not mine:
        precision, recall = 1.0, 1.0
    else:
        precision, recall = share(mine, true), share(true, mine)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def test_jaccard_by_hand():
    a, b = square(10, 0, 0, 4), square(10, 2, 2, 4)
    assert jaccard(a, b) == pytest.approx(4 / 28)
    assert jaccard(a, a) == 1.0
    assert jaccard(a, square(10, 5, 5, 4)) == 0.0


def test_two_empty_masks_agree_and_an_empty_one_never_matches():
    empty, full = square(10, 0, 0, 0), square(10, 2, 2, 4)
    assert jaccard(empty, empty) == boundary_f(empty, empty) == 1.0
    assert jaccard(empty, full) == boundary_f(empty, full) == boundary_f(full, empty) == 0.0


def test_a_mask_that_fills_the_picture_has_no_outline():
    everything, nothing = np.ones((20, 30)), np.zeros((20, 30))
    assert not outline(everything != 0).any()
    assert boundary_f(everything, everything) == boundary_f(everything, nothing) == 1.0
    assert boundary_f(everything, square(30, 2, 2, 4)[:20]) == 0.0


def test_outline_by_hand():
    # A single pixel differs from itself's right, lower and diagonal neighbours: itself, left, above,
    # above-left.
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert np.argwhere(outline(mask)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    # In the last corner nothing lies right or below; the last row and column look along themselves only.
    mask = np.zeros((5, 5), bool)
    mask[4, 4] = True
    assert np.argwhere(outline(mask)).tolist() == [[3, 3], [3, 4], [4, 3]]
    mask = np.zeros((5, 5), bool)
    mask[0, 0] = True
    assert np.argwhere(outline(mask)).tolist() == [[0, 0]]


def test_f_by_hand_of_two_single_pixels():
    # 60x80: the diagonal is 100, so the radius is ceil(0.8) = 1. Each outline is a 2x2 block.
    a, b = np.zeros((60, 80)), np.zeros((60, 80))
    a[30, 30] = b[30, 32] = 1  # blocks in columns 29-30 and 31-32: only the inner columns are 1 apart
    assert boundary_f(a, b) == pytest.approx(0.5)
    b[:] = 0
    b[30, 33] = 1
    assert boundary_f(a, b) == 0.0
    b[:] = 0
    b[31, 31] = 1  # diagonal by (1, 1): the blocks share a pixel, two more touch it, the corners are sqrt 2 away
    assert boundary_f(a, b) == pytest.approx(0.75)


def test_f_by_hand_of_a_half_found_outline():
    # Vertical edges of 40 rows in 60x80 (radius 1). The prediction has the upper 20 rows right and nothing below:
    # its outline is 20 pixels and the one row of its lower end, 41 pixels wide (columns 39 to 79).
    truth = np.zeros((60, 80), bool)
    truth[:, 40:] = True
    assert len(slow_outline(truth)) == 60
    predicted = truth.copy()
    predicted[20:] = False
    edge = slow_outline(predicted)
    assert len(edge) == 20 + 40  # column 39 in rows 0 to 19, row 19 in columns 40 to 79
    # precise: column 39, and of row 19 the pixel beside it; found: rows 0 to 19, and row 20 within 1 of (19, 39)
    precision, recall = 21 / 60, 21 / 60
    assert boundary_f(predicted, truth) == pytest.approx(2 * precision * recall / (precision + recall))


@given(
    seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 170), grain=st.sampled_from([1, 4, 9])
)
@settings(max_examples=60, deadline=None)
def test_f_equals_its_definition(seed, height, width, grain):
    random = np.random.default_rng(seed)  # blobs of `grain` pixels; radius 1 or 2 at these sizes
    shape = (height // grain + 1, width // grain + 1)
    a, b = (np.kron(random.random(shape) < 0.3, np.ones((grain, grain)))[:height, :width] > 0 for _ in range(2))
    assert {tuple(p) for p in np.argwhere(outline(a)).tolist()} == slow_outline(a)
    assert boundary_f(a, b) == pytest.approx(slow_boundary_f(a, b), abs=1e-12)
    assert boundary_f(a, b) == boundary_f(b, a)


def test_boundary_f_reaches_exactly_its_radius():
    # 100x100: the bound of 0.008 diagonals is 1.13, rounded up to 2 pixels.
    a = square(100, 20, 20, 40)
    assert boundary_f(a, square(100, 22, 20, 40)) > 0.99
    moved = boundary_f(a, square(100, 24, 20, 40))  # both horizontal edges are out of reach, the others stay
    assert 0.4 < moved < 0.6


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        jaccard(np.zeros((3, 4)), np.zeros((4, 3)))
