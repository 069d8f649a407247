"""LET's batches: frames, prompts, augmentation and patch targets."""

from collections import Counter

import numpy as np
import pytest
import torch

from segmentation.training import let_prompts
from segmentation.training.let_augment import Change, draw_change, recolour, warp
from segmentation.training.let_prompts import box_points, click_points, correction_points, draw_kind
from segmentation.training.patch_targets import carry_labels, patch_masks
from segmentation.training.sampler import Order, bidirectional


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- frames


@pytest.mark.parametrize(
    ("length", "frames", "steps", "shape"),
    [
        (100, 7, range(1, 34), [0, 1, 2, 3, 2, 1, 0]),
        (7, 7, range(1, 3), [0, 1, 2, 3, 2, 1, 0]),
        (4, 7, range(1, 4), [0, 1, 1, 0]),
        (6, 7, range(1, 3), [0, 1, 2, 2, 1, 0]),
        (100, 3, range(1, 100), [0, 1, 0]),
        (2, 7, [1], [0, 0]),
        (1, 7, [1], [0]),
    ],
)
def test_frames_forth_and_back(length, frames, steps, shape):
    drawn = {tuple(bidirectional(rng(k), length, frames)) for k in range(600)}
    assert drawn == {tuple(s * step for s in shape) for step in steps}
    assert all(max(found) < length for found in drawn)


def test_a_clip_of_no_frames():
    with pytest.raises(ValueError, match="no frames"):
        bidirectional(rng(), 0)


def test_every_sample_once_a_round():
    order = Order([23, 5, 0], [10, 1, 4], seed=3)
    assert order.batches == 2 + 5
    for round_ in range(3):
        batches = [order[round_ * 7 + i] for i in range(7)]
        assert Counter(source for source, _ in batches) == {0: 2, 1: 5}
        pictures = [i for source, samples in batches for i in samples if source == 0]
        assert len(set(pictures)) == 20 and set(pictures) <= set(range(23))
        assert sorted(i for source, samples in batches for i in samples if source == 1) == [0, 1, 2, 3, 4]
    assert [order[i] for i in range(7)] != [order[i] for i in range(7, 14)]
    again = Order([23, 5, 0], [10, 1, 4], seed=3)
    assert [again[i] for i in (16, 2, 9)] == [order[i] for i in (16, 2, 9)]


def test_few_samples_make_a_small_batch():
    assert sorted(Order([3], [10], seed=0)[5][1]) == [0, 1, 2]
    with pytest.raises(ValueError, match="no samples"):
        Order([0], [10], seed=0)


# ---- prompts


def test_prompts_are_drawn_as_the_paper_draws_them():
    kinds = Counter(draw_kind(rng(k), frames=7) for k in range(4000))
    expected = {"automatic": 0.4, "mask": 0.2, "box": 0.2, "click": 0.2}
    assert {k: round(v / 4000, 1) for k, v in kinds.items()} == expected
    pictures = Counter(draw_kind(rng(k), frames=1) for k in range(4000))
    assert set(pictures) == {"automatic", "box", "click"} and pictures["click"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert {draw_kind(rng(k), frames=7, shown=False) for k in range(50)} == {"automatic"}


def masks(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """(B,1,64,128) with x0, y0, x1, y1 inside."""
    found = torch.zeros(len(boxes), 1, 64, 128)
    for mask, (x0, y0, x1, y1) in zip(found, boxes):
        mask[0, y0 : y1 + 1, x0 : x1 + 1] = 1
    return found


def test_boxes_are_moved_a_little_and_stay_inside(monkeypatch):
    monkeypatch.setattr(let_prompts, "NOISE", 0.0)
    exact = box_points(rng(), masks((10, 5, 40, 25)))
    assert exact.coords[0].tolist() == [[10, 5], [40, 25]] and exact.labels.tolist() == [[2, 3]]
    monkeypatch.undo()
    for k in range(100):
        found = box_points(rng(k), masks((0, 5, 20, 63), (10, 5, 110, 25))).coords
        for (x0, y0, x1, y1), corners in zip([(0, 5, 20, 63), (10, 5, 110, 25)], found.numpy()):
            reach = np.minimum(0.1 * np.array([x1 - x0, y1 - y0]), 20 * 128 / 1024)
            assert (np.abs(corners - [[x0, y0], [x1, y1]]) <= reach + 1e-4).all()
            assert (corners >= 0).all() and (corners <= [127, 63]).all()


def test_clicks_fall_anywhere_on_the_object():
    truth = masks((10, 5, 11, 6), (100, 60, 100, 60))
    places = Counter()
    for k in range(400):
        points = click_points(rng(k), truth)
        assert points.labels.tolist() == [[1], [1]] and points.coords[1].tolist() == [[100, 60]]
        places[tuple(points.coords[0, 0].int().tolist())] += 1
    assert set(places) == {(10, 5), (11, 5), (10, 6), (11, 6)} and min(places.values()) > 60


def test_corrections_fall_on_errors(monkeypatch):
    monkeypatch.setattr(let_prompts, "FROM_TRUTH", 0.0)
    truth, guess = masks((10, 10, 20, 20)), masks((15, 10, 25, 20))
    known = torch.ones_like(truth)
    labels = set()
    for k in range(200):
        points = correction_points(rng(k), truth, known, guess)
        x, y = points.coords[0, 0].int().tolist()
        missed, extra = 10 <= x < 15, 20 < x <= 25
        assert 10 <= y <= 20 and (missed or extra) and points.labels.item() == int(missed)
        labels.add(points.labels.item())
    assert labels == {0, 1}
    known[..., :18] = 0  # nothing is known of what was missed
    assert {correction_points(rng(k), truth, known, guess).labels.item() for k in range(50)} == {0}
    beside = correction_points(rng(), truth, torch.ones_like(truth), truth)  # nothing wrong
    x, y = beside.coords[0, 0].int().tolist()
    assert truth[0, 0, y, x] == 0 and beside.labels.item() == 0
    monkeypatch.setattr(let_prompts, "FROM_TRUTH", 1.0)
    assert {correction_points(rng(k), truth, known, truth).labels.item() for k in range(50)} == {1}


def test_points_join():
    first, second = click_points(rng(), masks((3, 3, 3, 3))), click_points(rng(), masks((9, 8, 9, 8)))
    joined = first.joined(second).inputs()
    assert joined["point_coords"].tolist() == [[[3, 3], [9, 8]]] and joined["point_labels"].tolist() == [[1, 1]]


# ---- augmentation


def still(**changes) -> Change:
    return Change(**{"flip": False, "linear": np.eye(2), "colour": (1.0, 1.0, 1.0), "grey": False, **changes})


def test_a_warp_by_hand():
    image = np.zeros((4, 4), np.uint8)
    image[0, 1] = 9
    assert (warp(image, still(), 4, 0, smooth=False) == image).all()
    assert (warp(image, still(flip=True), 4, 0, smooth=False) == image[:, ::-1]).all()
    quarter = np.array([[0.0, -1], [1, 0]])  # x to y: clockwise, as y points down
    assert (warp(image, still(linear=quarter), 4, 0, smooth=False) == np.rot90(image, -1)).all()
    assert warp(image, still(), 8, 0, smooth=False).sum() == 9 * 4


def test_masks_move_with_their_picture():
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:60, 30:90] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    for k in range(20):
        change = draw_change(rng(k))
        picture = warp(image, change, 64, (0, 0, 0), smooth=True)[..., 0]
        moved = warp(mask, change, 64, 0, smooth=False)
        assert ((picture > 127) != (moved > 0)).sum() < 0.05 * moved.sum()
        assert set(np.unique(moved)) == {0, 1}


def test_colours_by_hand():
    image = np.full((2, 2, 3), (100, 50, 200), np.uint8)
    luma = 0.299 * 100 + 0.587 * 50 + 0.114 * 200

    class None_:
        def uniform(self, *_):
            return np.zeros(3)

    assert (recolour(None_(), image, still()) == image).all()
    bright = recolour(None_(), image, still(colour=(1.1, 1.0, 1.0)))
    assert bright[0, 0].tolist() == [110, 55, 220]
    pale = recolour(None_(), image, still(colour=(1.0, 1.0, 0.5)))
    assert np.allclose(pale[0, 0], 0.5 * image[0, 0] + 0.5 * luma, atol=0.6)
    assert recolour(None_(), image, still(grey=True))[0, 0].tolist() == [round(luma)] * 3


# ---- patch targets


def test_labels_are_carried_by_hand():
    # Three patches of one frame look like e0, e1, e2; in the second frame a patch looks like e1 and one like e2.
    looks = torch.eye(8)
    features = torch.stack([looks[:3], looks[[1, 2, 5]]]).permute(0, 2, 1)[:, :, None]  # (2,8,1,3)
    first = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]]])
    soft = carry_labels(features, first)
    same, other = np.exp(5.0), 1.0  # likeness 1 and 0 over 0.2
    expected = (same + other) / (same + 2 * other)  # of three patches two are object
    assert soft[1, 1, 0, :2].tolist() == pytest.approx([expected, expected])
    assert soft[1, 1, 0, 2].item() == pytest.approx(2 / 3)
    assert torch.allclose(soft.sum(1), torch.ones(2, 1, 3))


def test_far_patches_are_not_looked_at():
    looks = torch.zeros(2, 2, 1, 30)
    looks[:, 0] = 1
    looks[0, :, 0, 0] = torch.tensor([0.0, 1.0])  # only the far left of the first frame looks so, and is object
    looks[1, :, 0, [5, 29]] = torch.tensor([[0.0], [1.0]])
    first = torch.zeros(2, 1, 30)
    first[1, 0, 0], first[0, 0, 1:] = 1, 1
    soft = carry_labels(looks, first)[1, 1, 0]
    assert soft[5] > 0.9 and soft[29] == 0


def test_patch_masks_follow_what_looks_alike():
    torch.manual_seed(0)
    looks = torch.nn.functional.normalize(torch.randn(2, 16), dim=1)
    features = torch.zeros(5, 16, 12, 12)
    for t in range(5):
        inside = torch.zeros(12, 12, dtype=torch.bool)
        inside[3:8, 2 + t : 5 + t] = True
        features[t] = torch.where(inside, looks[1][:, None, None], looks[0][:, None, None])
    features += 0.05 * torch.randn_like(features)
    first = torch.zeros(1, 48, 48)
    first[0, 12:32, 8:20] = 1
    found = patch_masks(features, first)
    for t in range(5):
        expected = torch.zeros(12, 12)
        expected[3:8, 2 + t : 5 + t] = 1
        assert torch.equal(found[t, 0], expected)


def test_without_difference_nothing_is_object():
    assert patch_masks(torch.ones(2, 4, 3, 3), torch.zeros(1, 6, 6)).sum() == 0
