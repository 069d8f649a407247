"""The kernel that reads memories, the structure gate and the prompt generator against their plain definitions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("sam2", reason="needs the package sam2, see the extra `robotseg`")

from sam2.modeling.sam.transformer import RoPEAttention

from segmentation.robotseg.generator import RobotPromptGenerator
from segmentation.robotseg.reading import MemoryReading
from segmentation.robotseg.structure import structure_gate

SHAPE = {"rope_theta": 10000.0, "rope_k_repeat": True, "embedding_dim": 256, "num_heads": 1, "kv_in_dim": 64}


def pair(side: int) -> tuple[MemoryReading, RoPEAttention]:
    torch.manual_seed(side)
    ours = MemoryReading(feat_sizes=(side, side), **SHAPE).eval()
    theirs = RoPEAttention(feat_sizes=(side, side), **SHAPE).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def tokens(side: int, frames: int, pointers: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = side * side
    values = torch.randn(batch, count * frames + pointers, 64)
    return torch.randn(batch, count, 256) * 3, values + torch.randn_like(values), values


@pytest.mark.parametrize(
    ("side", "frames", "pointers", "batch"), [(8, 1, 4, 1), (16, 3, 0, 2), (8, 7, 28, 1), (8, 11, 8, 1)]
)
def test_kernel_equals_sam2(side: int, frames: int, pointers: int, batch: int) -> None:
    """Up to single precision, for any number of frames, with and without pointers."""
    ours, theirs = pair(side)
    q, k, v = tokens(side, frames, pointers, batch)
    assert ours._applies(q, k.shape[1] - pointers) is False  # gradients are asked for
    with torch.inference_mode():
        assert ours._applies(q, k.shape[1] - pointers)
        torch.testing.assert_close(ours(q, k, v, pointers), theirs(q, k, v, pointers), atol=3e-6, rtol=1e-5)


def test_kernel_bears_extreme_scores() -> None:
    """Scores of thousands: the largest is subtracted before the exponential, in any order of the keys."""
    ours, theirs = pair(8)
    q, k, v = tokens(8, 2, 4)
    with torch.inference_mode():
        got = ours(q * 300, k, v, 4)
        assert torch.isfinite(got).all()
        torch.testing.assert_close(got, theirs(q * 300, k, v, 4), atol=2e-3, rtol=0)


def test_changed_memories_are_not_mistaken_for_the_last_ones() -> None:
    ours, theirs = pair(8)
    with torch.inference_mode():
        for _ in range(3):
            q, k, v = tokens(8, 1, 4)
            torch.testing.assert_close(ours(q, k, v, 4), theirs(q, k, v, 4), atol=3e-6, rtol=1e-5)


def test_pooling_is_exact_where_memories_are_the_same_and_nothing_turns() -> None:
    """Four keys in one place count as much as their mean counted four times."""
    ours, theirs = pair(16)
    q, _, _ = tokens(16, 1, 0)
    flat = torch.randn(1, 1, 64).expand(1, 256, 64)
    values = torch.cat([flat, torch.randn(1, 4, 64)], 1).contiguous()
    ours.k_proj.weight.data.zero_()  # no key has a place, as all projections are the bias
    ours.k_proj.bias.data.zero_()
    theirs.load_state_dict(ours.state_dict())
    ours.pool = 2
    with torch.inference_mode():
        torch.testing.assert_close(ours(q, values, values, 4), theirs(q, values, values, 4), atol=1e-6, rtol=1e-5)


def test_gradients_flow_in_training() -> None:
    ours, _ = pair(8)
    q, k, v = tokens(8, 2, 4)
    ours(q.requires_grad_(), k, v, 4).sum().backward()
    assert q.grad is not None
    assert ours.k_proj.weight.grad is not None


def test_structure_gate_is_enlarging_and_reducing() -> None:
    logits = torch.randn(2, 1, 12, 9) * 4
    large = F.interpolate(logits, scale_factor=16, mode="bilinear", align_corners=False).sigmoid()
    reduced = F.interpolate(large, size=(12, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(structure_gate(logits), reduced, atol=1e-6, rtol=0)


def generator() -> RobotPromptGenerator:
    made = RobotPromptGenerator()
    made.random_start = False
    return made


def test_generator_without_memory_or_robot_repeats_its_embedding() -> None:
    made = generator()
    row = made.no_memory_prompt_embeddings_fg.weight[0]
    assert torch.equal(made([], [], batch=2), row.expand(2, 3, 256))
    memory, nothing = torch.randn(16, 1, 64), torch.zeros(16, 1, dtype=torch.bool)
    assert torch.equal(made([memory, memory], [nothing, nothing]), row.expand(1, 6, 256))


def test_generator_by_hand() -> None:
    """Three far corners with one feature each: every token is four times that feature, of length one."""
    made = generator()
    memory, inside = torch.zeros(64, 1, 64), torch.zeros(64, 1, dtype=torch.bool)
    for n, corner in enumerate((0, 7, 56)):
        inside[corner], memory[corner, 0, n] = True, 2.0 + n
    got = made([memory], [inside])[0].view(3, 4, 64)
    # the first point is token 0; the farthest from it is 7 (as far as 56, but the lower index), then 56
    for n in range(3):
        assert torch.equal(got[n], F.one_hot(torch.tensor(n), 64).float().expand(4, 64))


def test_generator_draws_as_often_as_the_original() -> None:
    """One start for the regions and one in each of three: four draws a frame."""
    made = generator()
    made.random_start = True
    memory, inside = torch.randn(64, 1, 64), torch.ones(64, 1, dtype=torch.bool)
    torch.manual_seed(5)
    made([memory], [inside])
    after = torch.rand(1)
    torch.manual_seed(5)
    counts = []
    original = torch.randint

    def counted(low: int, high: int, size: tuple) -> torch.Tensor:
        counts.append(high)
        return original(low, high, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randint", counted)
        made([memory], [inside])
    assert len(counts) == 4
    assert counts[0] == 64
    assert sum(counts[1:]) == 64
    assert torch.equal(torch.rand(1), after)


def test_an_odd_pool_is_refused() -> None:
    from segmentation import build_robotseg

    with pytest.raises(ValueError, match="1, 2 or 4"):
        build_robotseg(pool=0)
