"""J and F against values worked out by hand."""

import numpy as np
import pytest

from segmentation import boundary_f, jaccard
from segmentation.metrics import outline


def square(size, top, left, side):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


def test_jaccard_by_hand():
    a, b = square(10, 0, 0, 4), square(10, 2, 2, 4)
    assert jaccard(a, b) == pytest.approx(4 / 28)
    assert jaccard(a, a) == 1.0
    assert jaccard(a, square(10, 5, 5, 4)) == 0.0


def test_two_empty_masks_agree_and_an_empty_one_never_matches():
    empty, full = square(10, 0, 0, 0), square(10, 2, 2, 4)
    assert jaccard(empty, empty) == boundary_f(empty, empty) == 1.0
    assert jaccard(empty, full) == boundary_f(empty, full) == boundary_f(full, empty) == 0.0


def test_outline_by_hand():
    # A single pixel differs from itself's right, lower and diagonal neighbours: itself, left, above,
    # above-left.
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert np.argwhere(outline(mask)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_boundary_f_reaches_exactly_its_radius():
    # 100x100: the bound of 0.008 diagonals is 1.13, rounded up to 2 pixels.
    a = square(100, 20, 20, 40)
    assert boundary_f(a, square(100, 22, 20, 40)) > 0.99
    moved = boundary_f(a, square(100, 24, 20, 40))  # both horizontal edges are out of reach, the others stay
    assert 0.4 < moved < 0.6


def test_boundary_f_by_hand():
    # A long vertical edge against the same edge with half its length 30 pixels away.
    a = np.zeros((200, 200), bool)
    a[:, 100:] = True
    b = a.copy()
    b[100:, :70] = False
    b[100:, 70:] = True
    edge_a, edge_b = outline(a), outline(b)
    assert edge_a.sum() == 200
    # b's outline: 99 + 99 vertical pixels near a or 30 away, plus the 30-pixel step between them
    near = int(edge_b[:, 96:103].sum())
    # the radius is 3 pixels: the step's corner reaches on
    precision, recall = near / edge_b.sum(), (100 + 4) / 200
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f(b, a) == pytest.approx(expected, abs=0.02)


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        jaccard(np.zeros((3, 4)), np.zeros((4, 3)))
