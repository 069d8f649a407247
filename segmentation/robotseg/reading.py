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
        keys: (n*n,64,frames) of n x n places. values: (n,64,n*frames).
        pointer_keys, pointers: (p,64), keys and values of object pointers.
    """

    keys: Tensor
    values: Tensor
    pointer_keys: Tensor
    pointers: Tensor


_last: tuple[Tensor, Tensor, int, list[Laid]] | None = None


def _laid_out(k: Tensor, v: Tensor, placed: int, side: int, pool: int) -> list[Laid]:
    """Memories k, v (B,M,64) of every object; the last ones are remembered, as all layers read the same."""
    global _last
    if _last is not None and _last[0] is k and _last[1] is v and _last[2] == pool:
        return _last[3]
    laid = []
    for keys, values in zip(k.float(), v.float()):
        seen, told = (_pooled(tokens[:placed].unflatten(0, (-1, side, side)), pool) for tokens in (keys, values))
        by_cell = seen.flatten(1, 2).permute(1, 2, 0).contiguous()
        by_row = told.permute(1, 3, 2, 0).flatten(2).contiguous()
        laid.append(Laid(by_cell, by_row, keys[placed:].contiguous(), values[placed:].contiguous()))
    _last = k, v, pool, laid
    return laid


def _pooled(maps: Tensor, pool: int) -> Tensor:
    """Means over squares of maps (f,h,w,c)."""
    return maps if pool == 1 else maps.unflatten(2, (-1, pool)).unflatten(1, (-1, pool)).mean((2, 4))


class MemoryReading(RoPEAttention):
    """The same weights, inputs and outputs as sam2's `RoPEAttention`.

    Attributes:
        fast: use the kernel on processors, where no gradients are asked for; else sam2's code runs. The kernel computes
            in single precision, under autocast as well.
        pool: squares of pool x pool memory tokens are read as one, their mean. 1 is exact; 2 is four times less work.
    """

    fast = True
    pool = 1
    freqs_cis: Tensor

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Attention of q (B,N,256) to memories k, v (B,M,64), the last of which have no place in the picture."""
        placed = k.shape[1] - num_k_exclude_rope
        if not self._applies(q, placed):
            return super().forward(q, k, v, num_k_exclude_rope)
        laid = _laid_out(k, v, placed, math.isqrt(q.shape[1]), self.pool)
        q = self.q_proj(q)
        with torch.autocast("cpu", enabled=False):
            mean = torch.stack([self._read(one.float(), memory) for one, memory in zip(q, laid)])
        return self.out_proj(self.v_proj(mean))

    def _applies(self, q: Tensor, placed: int) -> bool:
        count = q.shape[1]
        return (
            self.fast
            and q.device.type == "cpu"
            and not torch.is_grad_enabled()
            and placed > 0
            and placed % count == 0
            and math.isqrt(count) ** 2 == count
            and count % (32 * self.pool) == 0
            and self.num_heads == 1
            and self.rope_k_repeat
            and self.kv_in_dim == self.internal_dim // 4
        )

    def _read(self, q: Tensor, memory: Laid) -> Tensor:
        """Means of the memories' values weighted by attention: (N,64) for projected queries q (N,256)."""
        from segmentation.robotseg.attention_kernel import WIDTH, attend

        side = math.isqrt(q.shape[0])
        kept = side // self.pool
        turned = self._turned(q / math.sqrt(q.shape[1]), side)
        blocks = turned.view(-1, WIDTH, q.shape[1]).transpose(1, 2)  # block, 256, query
        pointers = self.k_proj(memory.pointer_keys)
        places = self._places(side)
        crowd = math.log(self.pool)  # on both axes: a mean stands for pool * pool keys
        found = torch.zeros(blocks.shape[0], memory.pointers.shape[1], WIDTH)
        for start in range(0, blocks.shape[0], BLOCKS):
            part = slice(start, start + BLOCKS)
            (u, b), (w, c) = (
                ((weight @ half).unflatten(1, (kept, -1)), bias @ half + crowd)
                for (weight, bias), half in zip(places, blocks[part].chunk(2, dim=1))
            )
            arrays = (u, w, b, c, memory.keys, memory.values, pointers @ blocks[part], memory.pointers, found[part])
            attend(*(array.detach().numpy() for array in arrays))
        return found.transpose(1, 2).reshape(q.shape[0], -1)

    def _turns(self, side: int) -> Tensor:
        """Rotations (side*side,128) complex of the places of a picture: 64 for the column, then 64 for the row."""
        if self.freqs_cis.shape[0] != side * side:
            self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        self.freqs_cis = self.freqs_cis.cpu()  # sam2 makes it on a GPU wherever there is one
        return self.freqs_cis

    def _turned(self, q: Tensor, side: int) -> Tensor:
        """Queries (N,256) rotated by their places."""
        pairs = torch.view_as_complex(q.view(q.shape[0], -1, 2))
        return torch.view_as_real(pairs * self._turns(side)).flatten(1)

    def _places(self, side: int) -> list[tuple[Tensor, Tensor]]:
        """For columns and for rows, the keys' projection rotated by each place, as it meets a query's half.

        (places*64,128) from the weights and (places,128) from the bias.
        """
        half, quarter = self.internal_dim // 2, self.internal_dim // 4
        step = self._turns(side)[1, :quarter].angle()  # from one column to the next; rows turn by the same
        centre = torch.arange(side // self.pool) * self.pool + (self.pool - 1) / 2
        place = torch.polar(torch.ones(len(centre), quarter), torch.outer(centre, step))
        found = []
        for part in (slice(0, half), slice(half, None)):
            weight = torch.view_as_complex(self.k_proj.weight[part].T.reshape(-1, quarter, 2).contiguous())
            bias = torch.view_as_complex(self.k_proj.bias[part].view(quarter, 2))
            turned = torch.view_as_real(place[:, None] * weight).reshape(-1, half)
            found.append((turned, torch.view_as_real(place * bias).flatten(1)))
        return found
