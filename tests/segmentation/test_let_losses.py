"""LET's losses against numbers worked out by hand."""

import math

import pytest
import torch

from segmentation.training.let_losses import (
    LetWeights,
    described,
    dice,
    focal,
    mask_loss,
    object_loss,
    outlines,
    overlap,
    patch_loss,
    semantic_loss,
    structure_loss,
)

LN3 = math.log(3)  # logit of 3/4


def row(*values: float) -> torch.Tensor:
    """(1,1,1,n)."""
    return torch.tensor([[[list(values)]]], dtype=torch.float32)


ALL = row(1, 1)


def test_focal():
    # logits 0 and ln 3 on a robot and a background pixel: p = 1/2 and 3/4
    expected = (0.25 * 0.5**2 * math.log(2) + 0.75 * 0.75**2 * math.log(4)) / 2
    assert focal(row(0, LN3), row(1, 0), ALL).item() == pytest.approx(expected)


def test_dice():
    # p = (1/2, 3/4), t = (1, 0)
    assert dice(row(0, LN3), row(1, 0), ALL).item() == pytest.approx(1 - (2 * 0.5 + 1) / (1.25 + 1 + 1))


def test_overlap():
    assert overlap(row(1, 1, -1, -1), row(1, 0, 1, 0), row(1, 1, 1, 1)).item() == pytest.approx(1 / 3)
    assert overlap(row(-1, -1), row(0, 0), ALL).item() == 0


def test_pixels_of_unknown_label_do_not_count():
    known = row(1, 1, 0)
    for loss in (focal, dice, overlap):
        assert torch.equal(loss(row(0, LN3, 5), row(1, 0, 0), known), loss(row(0, LN3, -9), row(1, 0, 1), known))
    assert focal(row(0, LN3, 5), row(1, 0, 0), known) == focal(row(0, LN3), row(1, 0), ALL)


def test_the_best_of_several_masks_is_trained():
    weights = LetWeights()
    good, bad = row(LN3, -LN3), row(-LN3, LN3)
    logits = torch.cat([bad, good], 1).requires_grad_()
    ious = torch.tensor([[0.2, 0.7]], requires_grad=True)
    loss = mask_loss(logits, ious, row(1, 0), ALL, weights)
    # p of the good one is 3/4 on the robot and 1/4 beside it; its IoU is 1
    entropy = math.log(4 / 3)
    focal_good = (0.25 * 0.25**2 * entropy + 0.75 * 0.25**2 * entropy) / 2
    dice_good = 1 - (2 * 0.75 + 1) / (1 + 1 + 1)
    assert loss.item() == pytest.approx(5 * focal_good + dice_good + 0.3)
    loss.backward()
    assert (logits.grad[0, 0] == 0).all() and (logits.grad[0, 1] != 0).all()
    assert ious.grad.tolist() == [[0.0, -1.0]]


def test_focal_and_dice_decide_with_their_weights():
    # By focal loss the first mask is better, by Dice the second: the weights say which one is trained.
    logits = torch.cat([row(-3.0, -3.0, -3.0, -3.0), row(1.0, 0.4, 0.4, 0.4)], 1)
    target, known = row(1, 0, 0, 0), row(1, 1, 1, 1)
    f, d = focal(logits, target, known)[0], dice(logits, target, known)[0]
    assert f[0] < f[1] and d[0] > d[1]
    none = torch.zeros(1, 2)
    by_focal = mask_loss(logits, none, target, known, LetWeights(focal=100.0, iou=0.0))
    by_dice = mask_loss(logits, none, target, known, LetWeights(focal=0.01, iou=0.0))
    assert by_focal.item() == pytest.approx((100 * f[0] + d[0]).item())
    assert by_dice.item() == pytest.approx((0.01 * f[1] + d[1]).item())


def test_objects_out_of_sight_have_no_mask_loss():
    logits = torch.cat([row(LN3, -LN3), row(LN3, -LN3)])
    target = torch.cat([row(1, 0), row(0, 0)])
    alone = mask_loss(logits[:1], torch.ones(1, 1), target[:1], ALL, LetWeights())
    both = mask_loss(logits, torch.ones(2, 1), target, torch.cat([ALL, ALL]), LetWeights())
    assert both.item() == pytest.approx(alone.item() / 2)


def test_object_score():
    scores, target = torch.tensor([[LN3], [LN3]]), torch.cat([row(0, 1), row(0, 0)])
    assert object_loss(scores, target).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


def test_described():
    # features (3,4) under weight 1 and (1,0) under weight 1/2: mean (7/3, 8/3), to length 1
    features = torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]])
    mean = torch.tensor([7.0, 8.0]) / math.sqrt(113)
    assert torch.allclose(described(features, row(1, 0.5))[0], mean)


def test_semantic():
    features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # (1,0) and (0,1)
    logits = row(LN3, -LN3)  # weights 3/4 and 1/4: (3, 1) / sqrt(10)
    assert semantic_loss(features, logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1 - 3 / math.sqrt(10))


def test_the_anchor_learns_too():
    features = torch.rand(1, 3, 2, 2, requires_grad=True)
    anchor = described(features, torch.ones(1, 1, 2, 2))
    semantic_loss(torch.rand(1, 3, 2, 2), torch.zeros(1, 1, 2, 2), anchor).backward()
    assert features.grad.abs().sum() > 0


def test_patch():
    # two patches of 2 pixels each: p means to (1/2, 1/4) with t = (1, 0)
    loss = patch_loss(row(LN3, -LN3, -LN3, -LN3), row(1, 0))
    both = 0.5
    assert loss.item() == pytest.approx(1 - both / (0.75 + 1 - both), abs=1e-5)
    two = patch_loss(torch.cat([row(LN3, -LN3, -LN3, -LN3), row(0, 0, 0, 0)]), torch.cat([row(1, 0), row(1, 1)]))
    assert two.item() == pytest.approx((1 - 0.4 + 0.5) / 2, abs=1e-5)
    assert patch_loss(row(-99, -99), row(0, 0)).item() == pytest.approx(0, abs=1e-5)


def test_outlines():
    mask = torch.zeros(1, 1, 5, 5)
    mask[0, 0, 2, 2] = 1
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1 / 8
    expected[2, 2] = 1
    assert torch.allclose(outlines(mask)[0, 0], expected)
    assert (outlines(torch.zeros(1, 1, 5, 5)) == 0).all()
    # mirrored at the border, a mask that reaches it has no outline there
    left = torch.zeros(1, 1, 4, 4)
    left[..., :2] = 1
    assert torch.allclose(outlines(left)[0, 0, 0], torch.tensor([0.0, 1.0, 1.0, 0.0]))


def test_structure():
    left = torch.zeros(1, 1, 4, 4)
    left[..., :2] = 1  # outline in half of the pixels
    maps = torch.stack([torch.zeros(4, 4), torch.full((4, 4), LN3)])[None]
    assert structure_loss(maps, left).item() == pytest.approx((0.5 + (0.25 + 0.75) / 2) / 2)
