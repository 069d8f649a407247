"""sam2's attention to memories, with the fast kernel where it applies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

BLOCKS = 16  # of queries at a time: bounds the memory of what is prepared for the kernel


@dataclass(frozen=True)
class Laid:
    """Memories of one object as the kernel reads them.

    Attributes:
        keys: (side*side,frames,64). values: (side,64,side*frames). pointer_keys, pointers: keys and values (p,64) of
            object pointers.
    """

    keys: Tensor
    values: Tensor
    pointer_keys: Tensor
    pointers: Tensor


_last: tuple[Tensor, Tensor, list[Laid]] | None = None


def _laid_out(k: Tensor, v: Tensor, placed: int, side: int) -> list[Laid]:
    """Memories k, v (B,M,64) of every object; the last ones are remembered, as all layers read the same."""
    global _last
    if _last is not None and _last[0] is k and _last[1] is v:
        return _last[2]
    laid = []
    for keys, values in zip(k, v):
        by_cell = keys[:placed].view(-1, side * side, keys.shape[1]).transpose(0, 1).contiguous()
        by_row = values[:placed].view(-1, side, side, values.shape[1]).permute(1, 3, 2, 0)
        by_row = by_row.reshape(side, values.shape[1], -1).contiguous()
        laid.append(Laid(by_cell, by_row, keys[placed:].contiguous(), values[placed:].contiguous()))
    _last = k, v, laid
    return laid


class MemoryReading(RoPEAttention):
    """The same weights, inputs and outputs as sam2's `RoPEAttention`.

    Attributes:
        fast: use the kernel on processors, in single precision and without gradients; else sam2's code runs.
    """

    fast = True

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Attention of q (B,N,256) to memories k, v (B,M,64), the last of which have no place in the picture."""
        placed = k.shape[1] - num_k_exclude_rope
        if not self._applies(q, k, v, placed):
            return super().forward(q, k, v, num_k_exclude_rope)
        laid = _laid_out(k, v, placed, math.isqrt(q.shape[1]))
        mean = torch.stack([self._read(one, memory) for one, memory in zip(self.q_proj(q), laid)])
        return self.out_proj(self.v_proj(mean))

    def _applies(self, q: Tensor, k: Tensor, v: Tensor, placed: int) -> bool:
        return (
            self.fast
            and placed > 0
            and placed % q.shape[1] == 0
            and math.isqrt(q.shape[1]) ** 2 == q.shape[1]
            and q.shape[1] % 32 == 0
            and self.num_heads == 1
            and self.rope_k_repeat
            and self.kv_in_dim == self.internal_dim // 4
            and q.device.type == "cpu"
            and q.dtype == k.dtype == v.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not (torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or self.training))
        )

    def _read(self, q: Tensor, memory: Laid) -> Tensor:
        """Means of the memories' values weighted by attention: (N,64) for projected queries q (N,256)."""
        from segmentation.robotseg.attention_kernel import WIDTH, attend

        side = math.isqrt(q.shape[0])
        turned = self._turned(q / math.sqrt(q.shape[1]), side)
        blocks = turned.view(-1, WIDTH, q.shape[1]).transpose(1, 2)  # block, 256, query
        pointers = self.k_proj(memory.pointer_keys)
        places = self._places(side)
        found = torch.zeros(blocks.shape[0], memory.pointers.shape[1], WIDTH)
        for start in range(0, blocks.shape[0], BLOCKS):
            part = slice(start, start + BLOCKS)
            (u, b), (w, c) = (
                ((weight @ half).unflatten(1, (side, -1)), bias @ half)
                for (weight, bias), half in zip(places, blocks[part].chunk(2, dim=1))
            )
            arrays = (u, w, b, c, memory.keys, memory.values, pointers @ blocks[part], memory.pointers, found[part])
            attend(*(array.detach().numpy() for array in arrays))
        return found.transpose(1, 2).reshape(q.shape[0], -1)

    def _turns(self, side: int) -> Tensor:
        """Rotations (side*side,128) complex of the places of a picture: 64 for the column, then 64 for the row."""
        if self.freqs_cis.shape[0] != side * side:
            self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        return self.freqs_cis

    def _turned(self, q: Tensor, side: int) -> Tensor:
        """Queries (N,256) rotated by their places."""
        pairs = torch.view_as_complex(q.view(q.shape[0], -1, 2))
        return torch.view_as_real(pairs * self._turns(side)).flatten(1)

    def _places(self, side: int) -> list[tuple[Tensor, Tensor]]:
        """For columns and for rows, the keys' projection rotated by each place, as it meets a query's half.

        (side*64,128) from the weights and (side,128) from the bias.
        """
        turns = self._turns(side).view(side, side, -1)
        half, quarter = self.internal_dim // 2, self.internal_dim // 4
        found = []
        for place, part in ((turns[0, :, :quarter], slice(0, half)), (turns[:, 0, quarter:], slice(half, None))):
            weight = torch.view_as_complex(self.k_proj.weight[part].T.reshape(-1, quarter, 2).contiguous())
            bias = torch.view_as_complex(self.k_proj.bias[part].view(quarter, 2))
            found.append(
                (
                    torch.view_as_real(place[:, None] * weight).reshape(-1, half),
                    torch.view_as_real(place * bias).flatten(1),
                )
            )
        return found
