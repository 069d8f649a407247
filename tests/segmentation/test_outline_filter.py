import cv2
import numpy as np
import pytest

from segmentation.outline_filter import guided_filter, refine_outline


def test_the_guided_filter_by_its_equations():
    random = np.random.default_rng(0)
    guide, values = (random.random((9, 11)).astype(np.float32) for _ in range(2))
    radius, eps = 2, 1e-3
    rows, columns = (np.pad(np.arange(n), radius, mode="symmetric") for n in guide.shape)

    def windows(a):
        padded = a[np.ix_(rows, columns)]
        return np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 2).reshape(*a.shape, -1)

    i, p = windows(guide).astype(float), windows(values).astype(float)
    slope = ((i * p).mean(-1) - i.mean(-1) * p.mean(-1)) / (i.var(-1) + eps)  # equation 5
    offset = p.mean(-1) - slope * i.mean(-1)  # equation 6
    expected = windows(slope).mean(-1) * guide + windows(offset).mean(-1)  # equation 8
    assert guided_filter(guide, values, radius, eps) == pytest.approx(expected, abs=1e-5)


def test_an_outline_beside_an_edge_moves_to_it():
    image = np.full((80, 100, 3), 30, np.uint8)
    truth = np.zeros((80, 100), bool)
    truth[10:70, 20:80] = True
    image[truth] = (220, 200, 190)
    shifted = np.roll(truth, 2, axis=1)
    refined = refine_outline(shifted, image)
    assert np.count_nonzero(refined ^ truth) < 0.2 * np.count_nonzero(shifted ^ truth)
    inner = cv2.erode(shifted.astype(np.uint8), np.ones((7, 7))) > 0
    outer = cv2.dilate(shifted.astype(np.uint8), np.ones((7, 7))) > 0
    assert refined[inner].all() and not refined[~outer].any()


def test_what_would_change_too_much_stays():
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    small = np.zeros((60, 60), bool)
    small[20:23, 10:50] = True  # thin and without an edge below it: the filter would eat it
    refined = refine_outline(small, image)
    assert abs(int(refined.sum()) - 120) <= 0.03 * 120
    assert not refine_outline(np.zeros((60, 60), bool), image).any()
