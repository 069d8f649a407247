"""Training of the compact network: losses by hand, samples that repeat, memories, and (slow) eight pictures learned."""

import math

import cv2
import numpy as np
import pytest
import torch

from segmentation.network import RobotNet
from segmentation.training.augment import augment
from segmentation.training.compact_task import CompactSettings, CompactTask, overlap
from segmentation.training.losses import segmentation_loss, soft_dice
from segmentation.training.remember import remembered
from segmentation.training.shards import ShardSet, encode, write_shard

SMALL = CompactSettings(width=64, height=64, batch=3)


def picture(k, width=96, height=72):
    """A grey arm with a red gripper on noise."""
    rng = np.random.default_rng(k)
    rgb = rng.integers(0, 90, (height, width, 3)).astype(np.uint8)
    part = np.zeros((height, width), np.uint8)
    x, y = rng.integers(15, 40), rng.integers(10, 30)
    cv2.rectangle(part, (int(x), int(y)), (int(x) + 30, int(y) + 12), 1, -1)
    cv2.rectangle(part, (int(x) + 30, int(y)), (int(x) + 42, int(y) + 12), 2, -1)
    rgb[part == 1], rgb[part == 2] = 200, (220, 30, 30)
    return rgb, part


@pytest.fixture
def shards(tmp_path):
    samples = [encode(*picture(k), clip=f"c{k // 4}", frame=k % 4) for k in range(8)]
    write_shard(tmp_path / "a.tar", samples)
    return ShardSet(tmp_path)


def test_dice_by_hand():
    p, t = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    assert soft_dice(p, t).item() == pytest.approx(1 - (2 * 1.5 + 1) / (1.5 + 2 + 1))


def test_the_loss_of_even_scores_by_hand():
    # Uniform scores on a background and an arm pixel. Every term of the entropy is ln 3; smoothing by 0.02 spreads
    # it over the classes, whose weights sum to 5.
    loss = segmentation_loss(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 1]]]))
    entropy = math.log(3) * (0.98 + 0.02 * 5 / 3)
    robot = 1 - (2 * (2 / 3) + 1) / (4 / 3 + 1 + 1)
    gripper = 1 - 1 / (2 / 3 + 1)
    assert loss.item() == pytest.approx(entropy + robot + 0.5 * gripper, abs=1e-5)


def test_right_scores_cost_less_than_wrong_ones():
    part = torch.tensor([[[0, 1], [2, 1]]])
    right = torch.nn.functional.one_hot(part, 3).permute(0, 3, 1, 2) * 8.0
    assert segmentation_loss(right, part) < 0.4 < segmentation_loss(right.roll(1, 1), part)


def test_what_nobody_knows_is_not_asked():
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 4, 4)
    part = torch.randint(0, 3, (1, 4, 4))
    part[0, :2] = 255
    other = scores.clone()
    other[:, :, :2] = torch.randn(1, 3, 2, 4) * 5
    assert segmentation_loss(scores, part) == segmentation_loss(other, part)
    assert overlap(scores, part) == overlap(other, part)


def test_a_sample_and_the_frame_before_are_cut_alike():
    rgb, part = picture(0, 200, 150)
    for k in range(20):
        rng = np.random.default_rng(k)
        picture_cut, cut, before = augment(rng, (rgb, part), [], None, 80, 64, part)
        assert picture_cut.shape == (64, 80, 3) and (cut == before).all()


def test_what_is_behind_a_robot_may_be_another_picture_and_then_nothing_is_unknown():
    rgb, part = picture(0)
    part[:5] = 255
    photo = np.full((90, 120, 3), 17, np.uint8)
    seen = {255 in augment(np.random.default_rng(k), (rgb, part), [photo], None, 96, 72)[1] for k in range(40)}
    assert seen == {True, False}


def test_a_memory_is_none_or_near_the_truth_and_sometimes_wrong():
    part = cv2.resize(picture(3)[1], (400, 300), interpolation=cv2.INTER_NEAREST)
    memories = [remembered(np.random.default_rng(k), part, None, None) for k in range(200)]
    none = [not m.any() for m in memories]
    assert all((m[2] == 1).all() for m, gone in zip(memories, none) if not gone)
    assert 0.3 < np.mean(none) < 0.6
    ious = []
    for m in memories:
        if m.any():
            believed = m[:2].max(0) > 0.4
            ious.append((believed & (part > 0)).sum() / (believed | (part > 0)).sum())
    assert 0.5 < np.median(ious) < 0.98 and np.min(ious) < 0.2


def test_the_memory_of_a_clip_is_its_frame_before():
    rng_states = range(60)
    _, part = picture(3, 200, 150)
    before = np.roll(part, 40, 1)
    closest = []
    for k in rng_states:
        m = remembered(np.random.default_rng(k), part, before, None)
        if m[2].any() and m[:2].any():
            believed = m[:2].max(0) > 0.4
            closest.append((believed & (before > 0)).sum() >= (believed & (part > 0)).sum())
    assert np.mean(closest) > 0.9


def test_a_batch_depends_on_its_number_alone(shards):
    photos = [np.full((90, 120, 3), 40, np.uint8)]
    first, second = (CompactTask(shards, photos, SMALL, RobotNet()) for _ in range(2))
    first.batch(0)
    for a, b in zip(first.batch(5)[:3], second.batch(5)[:3]):
        assert torch.equal(a, b)
    assert not torch.equal(first.batch(5)[0], first.batch(6)[0])


def test_shares_say_how_often_a_set_is_drawn_from(shards, tmp_path):
    (tmp_path / "dark").mkdir()
    dark = np.zeros((72, 96, 3), np.uint8), np.zeros((72, 96), np.uint8)
    write_shard(tmp_path / "dark" / "b.tar", [encode(*dark)])
    other = ShardSet(tmp_path / "dark")
    task = CompactTask([shards, other], [], SMALL, RobotNet(), shares=[1, 3])
    rng = np.random.default_rng(0)
    drawn = np.mean([not task._draw(rng)[0][1].any() for _ in range(300)])
    assert 0.65 < drawn < 0.85
    with pytest.raises(ValueError, match="2 sets of shards but 1 shares"):
        CompactTask([shards, other], [], SMALL, RobotNet(), shares=[1])


def test_without_pictures_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="urdfit train data"):
        CompactTask(ShardSet(tmp_path), [], SMALL, RobotNet())


def test_the_loss_reaches_the_memory_and_leaves_the_first_layers(shards):
    torch.manual_seed(0)
    task = CompactTask(shards, [], SMALL, RobotNet())
    image, part, memory, _ = task.batch(0)
    memory[:, 2] = 1
    loss, numbers = task.loss((image, part, memory, False))
    loss.backward()
    assert task.network.memory[1].weight.grad.abs().sum() > 0
    assert task.network.encoder.stem.conv.weight.grad is None
    assert 0 <= numbers["iou"] <= 1
    (shown,) = task.pictures((image, part, memory, False)).values()
    assert shown.shape == (4 * 64, 3 * 64, 3) and shown.dtype == np.uint8
