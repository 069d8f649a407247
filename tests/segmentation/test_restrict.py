"""How clicks and boxes choose, mend and follow regions of a probability map."""

import numpy as np
import pytest

from segmentation.order import in_order
from segmentation.prompts import Prompt, parse_prompts
from segmentation.restrict import DROPPED, KEPT, Selection

H, W = 60, 120


def picture(*squares):
    """Probability map with squares (x0, x1, probability) over rows 20..40."""
    out = np.zeros((H, W), np.float32)
    for x0, x1, p in squares:
        out[20:40, x0:x1] = np.maximum(out[20:40, x0:x1], p)
    return out


def kept(selection, probability, *prompts):
    """Kept columns of row 30 after a step."""
    labels = selection.step(probability, parse_prompts(prompts))
    return np.flatnonzero(labels[30] == KEPT).tolist()


def columns(*ranges):
    return [x for a, b in ranges for x in range(a, b)]


def test_without_prompts_everything_stays():
    selection = Selection()
    for shift in range(3):
        assert kept(selection, picture((10, 30, 0.9), (60, 80, 0.8))) == columns((10, 30), (60, 80)), shift


def test_clicks_inside_add_up():
    p = picture((10, 30, 0.9), (50, 60, 0.9), (80, 90, 0.9))
    assert kept(Selection(), p, ("click", "0:15,30,+")) == columns((10, 30))
    assert kept(Selection(), p, ("click", "0:15,30,+"), ("click", "0:85,30,+")) == columns((10, 30), (80, 90))
    assert kept(Selection(), p, ("click", "0:15,30,-")) == columns((50, 60), (80, 90))


def test_a_click_outside_cuts_at_what_is_surer():
    p = picture((10, 50, 0.95), (50, 70, 0.65))
    assert kept(Selection(), p, ("click", "0:60,30,-")) == columns((10, 55))  # half way from the click to the sure part
    assert kept(Selection(), p, ("click", "0:20,30,-")) == []  # as sure as anything: the whole piece
    both = (("click", "0:20,30,+"), ("click", "0:60,30,-"))
    assert kept(Selection(), picture((10, 70, 0.9)), *both) == columns((10, 41))  # nothing to tell: half way
    assert kept(Selection(), picture((10, 40, 0.95), (40, 44, 0.55), (44, 70, 0.95)), *both) == columns((10, 42))


def test_a_click_on_what_the_network_hardly_sees_lowers_the_threshold_there_and_later():
    selection = Selection()
    p = picture((10, 40, 0.9), (40, 60, 0.3), (90, 100, 0.3))
    assert kept(selection, p, ("click", "0:20,30,+"), ("click", "0:50,30,+")) == columns((10, 60))
    moved = picture((12, 42, 0.9), (42, 62, 0.28), (90, 100, 0.3))
    assert kept(selection, moved) == columns((12, 62))


def test_a_box_keeps_pieces_and_cuts_those_that_cross_it():
    p = picture((10, 30, 0.9), (60, 80, 0.8))
    assert kept(Selection(), p, ("box", "0:5,10,35,50")) == columns((10, 30))
    assert kept(Selection(), p, ("box", "0:5,10,27,50")) == columns((10, 30))  # a tight box
    assert kept(Selection(), p, ("box", "0:5,10,64,50")) == columns((10, 30), (60, 65))
    assert kept(Selection(), p, ("box", "0:5,10,62,50")) == columns((10, 30))
    assert kept(Selection(), picture((10, 30, 0.4)), ("box", "0:5,10,35,50")) == columns((10, 30))


def test_a_part_that_was_cut_off_stays_off_but_rims_come_back():
    selection = Selection()
    p = picture((10, 90, 0.95), (90, 100, 0.65))  # a tenth of the piece
    assert kept(selection, p, ("click", "0:96,30,-")) == columns((10, 93))
    for shift in (0, 1, 2, 1, 0):
        columns_now = kept(selection, picture((10 + shift, 90 + shift, 0.95), (90 + shift, 100 + shift, 0.65)))
        assert columns_now[0] == 10 + shift and 91 <= columns_now[-1] <= 94, shift
    selection = Selection()
    mask = np.zeros((H, W), bool)
    mask[21:39, 11:99] = True  # given a little small
    selection.step(picture((10, 100, 0.9)), [Prompt(0, mask=mask)])
    assert kept(selection, picture((11, 101, 0.9))) == columns((11, 101))


def test_robots_that_touch_come_apart_again():
    selection = Selection()
    assert kept(selection, picture((10, 30, 0.9), (60, 80, 0.9)), ("click", "0:20,30,+")) == columns((10, 30))
    for gap in range(28, 0, -2):
        kept(selection, picture((40 - 10 - gap // 2, 50 - gap // 2, 0.9), (50 + gap // 2, 70 + gap // 2, 0.9)))
    for _ in range(5):
        touching = kept(selection, picture((30, 50, 0.9), (50, 70, 0.9)))
        assert abs(len(touching) - 20) <= 2 and touching[0] == 30
    assert kept(selection, picture((28, 48, 0.9), (52, 72, 0.9))) == columns((28, 48))


def test_what_was_unseen_for_a_while_is_known_again():
    selection = Selection()
    kept(selection, picture((10, 30, 0.9), (60, 80, 0.9)), ("click", "0:20,30,+"))
    for _ in range(3):
        assert kept(selection, picture((60, 80, 0.9))) == []
    assert kept(selection, picture((14, 32, 0.9), (60, 80, 0.9))) == columns((14, 32))
    for _ in range(3):
        assert kept(selection, picture((14, 32, 0.9))) == columns((14, 32))
    assert kept(selection, picture((14, 32, 0.9), (62, 82, 0.9))) == columns((14, 32))


def test_after_a_click_outside_new_pieces_stay_unless_they_are_where_it_was():
    selection = Selection()
    kept(selection, picture((10, 30, 0.9), (60, 80, 0.9)), ("click", "0:70,30,-"))
    kept(selection, picture((10, 30, 0.9)))
    assert kept(selection, picture((10, 30, 0.9), (62, 80, 0.9), (110, 118, 0.9))) == columns((10, 30), (110, 118))


def test_a_copy_goes_its_own_way():
    selection = Selection()
    kept(selection, picture((10, 30, 0.9), (60, 80, 0.9)), ("click", "0:20,30,+"))
    other = selection.copy()
    kept(other, picture((10, 30, 0.9), (60, 80, 0.9)), ("click", "0:70,30,+"))
    assert kept(selection, picture((10, 30, 0.9), (60, 80, 0.9))) == columns((10, 30))
    assert kept(other, picture((10, 30, 0.9), (60, 80, 0.9))) == columns((10, 30), (60, 80))


def test_masks_of_odd_kinds_do_no_harm():
    selection = Selection()
    full = np.ones((H, W), np.float32)
    assert kept(selection, full, ("click", "0:0,0,+")) == columns((0, W))
    assert kept(selection, np.zeros((H, W), np.float32)) == []
    assert kept(selection, full) == columns((0, W))
    labels = Selection().step(np.ones((1, 1), np.float32), parse_prompts([("click", "0:0,0,-")]))
    assert labels.tolist() == [[DROPPED]]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 1, 0, 3], [1, 3, 0, 2]])
def test_masks_come_back_in_order(order):
    rng = np.random.default_rng(0)
    masks = [{"robot": rng.random((5, 7), np.float32), "arm": np.full((5, 7), 0.5, np.float32)} for _ in range(4)]
    found = list(in_order((i, masks[i]) for i in order))
    assert len(found) == 4
    for a, b in zip(found, masks, strict=True):
        for part in ("robot", "arm"):
            assert np.abs(a[part] - b[part]).max() <= 1 / 255 and np.array_equal(a[part] > 0.5, b[part] > 0.5)
            assert a[part].dtype == np.float32
