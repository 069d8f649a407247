"""Going on with trained weights: what stays fixed, what samples show, and that they repeat."""

import numpy as np
import pytest
import torch

from segmentation.network import RobotNet
from segmentation.training.shards import ShardSet, encode, write_shard
from segmentation.training.tuning import FILLS, TUNING, TuningTask, bleached, close_window

SMALL = TUNING.__class__(width=64, height=64, batch=2, rate=1e-3, encoder_rate=1e-3)


@pytest.fixture
def shards(tmp_path):
    part = np.zeros((72, 96), np.uint8)
    part[20:44, 30:60], part[44:50, 40:50] = 1, 2
    rgb = np.where(part[..., None] > 0, 220, 60).astype(np.uint8).repeat(3, 2)
    empty = np.full_like(rgb, 30), np.zeros_like(part)
    samples = [
        encode(rgb, part, clip="a", robot="x", source="rendered"),
        encode(rgb, part, clip="b", robot="x", source="posed"),
    ]
    write_shard(tmp_path / "a.tar", [*samples, encode(*empty, clip="c", robot=None)])
    return ShardSet(tmp_path)


def task(shards, **more):
    torch.manual_seed(0)
    photos, panoramas = [np.full((90, 120, 3), 200, np.uint8)], [np.ones((64, 128, 3), np.float32)]
    return TuningTask([shards], photos, SMALL, RobotNet(), panoramas=panoramas, **more)


def test_statistics_and_the_memory_stay(shards):
    t = task(shards)
    before = {k: v.clone() for k, v in t.network.state_dict().items()}
    loss, numbers = t.loss(t.batch(0))
    loss.backward()
    t.optimizer.step()
    changed = {k for k, v in t.network.state_dict().items() if not torch.equal(v, before[k])}
    assert "head.weight" in changed and 0 <= numbers["iou"] <= 1
    assert not any("running_" in k or k.startswith("memory") or "encoder.stem" in k for k in changed)
    assert len(t.rooms) == 1


def test_batches_repeat_and_some_samples_show_no_robot(shards):
    a, b = task(shards), task(shards)
    a.batch(0)
    assert all(torch.equal(x, y) for x, y in zip(a.batch(3)[:3], b.batch(3)[:3]))
    only = task(shards, without=0.9)
    robots = np.mean([bool(part.any()) for k in range(40) for part in only.batch(k)[1]])
    assert robots < 0.25


def test_close_windows_are_filled_by_the_robot():
    part = np.zeros((200, 300), np.uint8)
    part[80:130, 100:180] = 1
    filled = []
    for k in range(300):
        x, y, w, h = close_window(np.random.default_rng(k), part)
        assert 0 <= x <= 300 - w and 0 <= y <= 200 - h
        filled.append((part[y : y + h, x : x + w] > 0).mean())
    assert 0.35 < np.mean([FILLS[0] < f < FILLS[1] for f in filled]) < 0.9
    close_window(np.random.default_rng(0), np.zeros_like(part))


def test_bleached_is_bright_and_nearly_grey():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 120, (40, 60, 3)).astype(np.uint8)
    out = np.stack([bleached(rng, rgb) for _ in range(20)]).astype(float)
    coloured = np.ptp(rgb.astype(float), axis=-1).mean() / rgb.mean()
    assert out.mean() > 130 and np.ptp(out, axis=-1).mean() / out.mean() < 0.5 * coloured
