"""The training engine: losses by hand, samples that repeat, and (slow) a network that learns eight pictures."""

import math

import cv2
import numpy as np
import pytest
import torch

from pose.shading import Material
from segmentation.network import RobotNet
from segmentation.training.assets import Assets, blob
from segmentation.training.augment import augment
from segmentation.training.losses import segmentation_loss, soft_dice
from segmentation.training.posed import REDUNDANT, swept_pose
from segmentation.training.scenes import sample_scene
from segmentation.training.npz_shards import decode, read_shard, write_shard
from urdf import load_robot


@pytest.fixture(scope="module")
def assets():
    rng = np.random.default_rng(0)
    photos = [cv2.resize(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8), (300, 200)) for _ in range(3)]
    sky = [rng.uniform(0, 2, (32, 64, 3)).astype(np.float32)]
    return Assets(photos, photos[:1], sky, [blob(rng).dressed(Material())], [load_robot("panda")], np.ones(1))


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


def test_a_seed_gives_the_same_picture_again(assets):
    first, second = (sample_scene(np.random.default_rng(3), assets, 96, 72) for _ in range(2))
    assert (first.rgb == second.rgb).all() and (first.part == second.part).all()
    assert first.rgb.shape == (72, 96, 3) and first.part.max() <= 2


def test_scenes_show_robots_and_sometimes_none(assets):
    shares = [(sample_scene(np.random.default_rng(k), assets, 96, 72).part > 0).mean() for k in range(25)]
    assert 15 <= sum(s > 0.005 for s in shares) <= 24 and np.mean(shares) > 0.05


def test_shards_and_augmentation(assets, tmp_path):
    images = [sample_scene(np.random.default_rng(k), assets, 96, 72) for k in range(3)]
    write_shard(tmp_path / "a.npz", [(i.rgb, i.part) for i in images])
    stored = read_shard(tmp_path / "a.npz")
    assert len(stored) == 3 and (decode(stored[1])[1] == images[1].part).all()
    for k in range(40):  # every branch of the effects at some time
        rgb, part = augment(np.random.default_rng(k), stored[k % 3], assets.photos, stored[0], 64, 32)
        assert rgb.shape == (32, 64, 3) and rgb.dtype == np.uint8
        assert part.shape == (32, 64) and set(np.unique(part)) <= {0, 1, 2}


def test_a_swept_pose_reaches_the_recorded_one(assets):
    robot = assets.robots[0]
    link = robot.link_names.index("panda_link8")
    q = robot.rest + np.array([0.1, -0.2, 0.15, 0.1, 0.2, -0.1, 0.3, -0.02])
    T = robot.link_poses(q)[link]
    found = swept_pose(robot, T, robot.link_names[link], float(q[REDUNDANT]), robot.rest)
    assert np.allclose(robot.link_poses(found)[link], T, atol=5e-3)
    far = T.copy()
    far[:3, 3] *= 5
    assert swept_pose(robot, far, robot.link_names[link], 0.0, robot.rest) is None


@pytest.mark.slow
def test_the_network_learns_eight_pictures(assets):
    torch.manual_seed(0)
    images = []
    for k in range(30):
        image = sample_scene(np.random.default_rng(k), assets, 128, 96)
        if (image.part > 0).mean() > 0.1 and len(images) < 8:
            images.append(image)
    x = torch.from_numpy(np.stack([i.rgb for i in images])).permute(0, 3, 1, 2).float()
    y = torch.from_numpy(np.stack([i.part for i in images])).long()
    network = RobotNet()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(250):
        loss = segmentation_loss(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = network(x).argmax(1) > 0
    overlap = (predicted & (y > 0)).sum() / (predicted | (y > 0)).sum()
    assert overlap > 0.9
