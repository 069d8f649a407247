"""RobotSeg's structure-enhanced memory associator: sam2's memory attention with a second look at outlines.

arXiv 2511.22950. In each layer the tokens, raised where the frame has edges, pass a pyramid of depthwise convolutions
and attend to the memories once more; a convolution makes a map of outlines of the result, and the layer's output is
raised where that map is high.
"""

from __future__ import annotations

import torch
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from torch import Tensor, nn
from torch.nn import functional as F

from segmentation.robotseg.linear import linear

KERNELS = (3, 5, 7)
GROUPS = 32
FULL = 16  # the structure map is 16 times finer than the tokens


class Branch(nn.Module):
    """Depthwise and pointwise convolution, group norm, GELU."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.pw = nn.Conv2d(channels, channels, 1)
        self.norm = nn.GroupNorm(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.pw(F.gelu(self.dw(x)))))


class Pyramid(nn.Module):
    """Three branches of growing reach, joined by a pointwise convolution. (B,C,H,W) to the same."""

    def __init__(self, channels: int):
        super().__init__()
        for kernel in KERNELS:
            self.add_module(f"conv{kernel}", Branch(channels, kernel))
        self.fuse = nn.Conv2d(len(KERNELS) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.fuse(torch.cat([getattr(self, f"conv{kernel}")(x) for kernel in KERNELS], 1)))


class StructureLayer(MemoryAttentionLayer):
    """A layer of the memory attention with the structure branch."""

    def __init__(self, cross_attention_structure: nn.Module, d_model: int, **arguments: object):
        super().__init__(d_model=d_model, **arguments)
        self.cross_attn_structure = cross_attention_structure
        self.ms_pyramid = Pyramid(d_model)
        self.structure_head = nn.Conv2d(d_model, 1, 3, padding=1)
        self.structure_strength = nn.Parameter(torch.tensor(1.0))

    def forward(  # type: ignore[override]
        self, tgt: Tensor, keys: Tensor, values: Tensor, query_pos: Tensor, num_k_exclude_rope: int, edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B,N,C) and the structure map's logits (B,1,h,w).

        Args:
            tgt, query_pos: (B,N,C), N = h*w. keys, values: (B,M,64), the last `num_k_exclude_rope` have no place in
                the picture. edges: gain (B,1,h,w).
        """
        tgt = self._forward_sa(tgt, query_pos)
        memories = {"k": keys, "v": values, "num_k_exclude_rope": num_k_exclude_rope}
        tgt = tgt + self.dropout2(self.cross_attn_image(q=self.norm2(tgt), **memories))
        structure = self._structure(tgt, edges, memories)
        hidden = self.dropout(linear(self.norm3(tgt), self.linear1.weight, self.linear1.bias, self.activation_str))
        tgt = tgt + self.dropout3(self.linear2(hidden))
        gain = 1 + self.structure_strength * structure_gate(structure)
        return tgt * gain.flatten(2).transpose(1, 2), structure

    def _structure(self, tgt: Tensor, edges: Tensor, memories: dict) -> Tensor:
        batch, _, channels = tgt.shape
        size = edges.shape[-2:]
        raised = tgt * (1 + edges.flatten(2).transpose(1, 2))
        outline = self.ms_pyramid(raised.transpose(1, 2).reshape(batch, channels, *size))
        seen = self.cross_attn_structure(q=outline.flatten(2).transpose(1, 2), **memories)
        return self.structure_head(seen.transpose(1, 2).reshape(batch, channels, *size))


def structure_gate(logits: Tensor) -> Tensor:
    """What the original makes of structure logits (B,1,h,w): enlarged 16 times, sigmoid, reduced to (B,1,h,w).

    Reducing reads the four middle pixels of each block of 16x16 alone, so nothing else is computed: they lie 1/32 of a
    cell to each side of its centre.
    """
    h, w = logits.shape[-2:]
    rows, columns = (_beside(n, logits.device, logits.dtype) for n in (h, w))
    fine = rows @ logits @ columns.T
    return F.avg_pool2d(fine.sigmoid(), 2)


def _beside(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(2n,n): linear interpolation at 1/32 before and after each of n cell centres, ends repeated."""
    centre = torch.eye(count, device=device, dtype=dtype)
    before, after = torch.cat([centre[:1], centre[:-1]]), torch.cat([centre[1:], centre[-1:]])
    step = 0.5 / FULL
    pairs = torch.stack([(1 - step) * centre + step * before, (1 - step) * centre + step * after], 1)
    return pairs.reshape(2 * count, count)


class StructureMemoryAttention(MemoryAttention):
    """Layers of `StructureLayer`; the frame's edges are computed once for all of them."""

    def forward(  # type: ignore[override]
        self, curr: Tensor, curr_pos: Tensor, memory: Tensor, memory_pos: Tensor, num_obj_ptr_tokens: int, edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features that have seen the memories (N,B,C), and structure logits of all layers (B,layers,h,w).

        Args:
            curr, curr_pos: image features and their position encoding (N,B,C).
            memory, memory_pos: (M,B,64), the last `num_obj_ptr_tokens` are object pointers.
            edges: edge gain (B,1,h,w).
        """
        tokens = curr + 0.1 * curr_pos if self.pos_enc_at_input else curr
        tokens, query_pos, values = (x.transpose(0, 1) for x in (tokens, curr_pos, memory))
        keys = values + memory_pos.transpose(0, 1)
        structures = []
        for layer in self.layers:
            tokens, structure = layer(tokens, keys, values, query_pos, num_obj_ptr_tokens, edges)
            structures.append(structure)
        return self.norm(tokens).transpose(0, 1), torch.cat(structures, 1)


def structure_maps(logits: Tensor) -> Tensor:
    """The layers' structure maps at the size of the network's input, as the losses want them: (B,layers,16h,16w)."""
    return F.interpolate(logits, scale_factor=FULL, mode="bilinear", align_corners=False)
