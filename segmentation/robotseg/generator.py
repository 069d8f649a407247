"""RobotSeg's prompt generator: object tokens for the mask decoder, drawn from the memories of past frames.

arXiv 2511.22950. It has no weights but one embedding, which stands for a frame without memory or without robot.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MACRO = 3  # regions of the foreground, one token each
MICRO = 4  # prototypes in a region, joined to its token


class RobotPromptGenerator(nn.Module):
    """Three tokens for every memory frame: its foreground in three regions, each described by four prototypes.

    Attributes:
        random_start: farthest-point sampling starts at a random token (the original; one draw of `torch.randint` a
            call) or at the first one, which makes results repeatable.
    """

    def __init__(self, embed_dim: int = 256, object_token_num: int = MACRO):
        super().__init__()
        self.tokens = object_token_num
        self.no_memory_prompt_embeddings_fg = nn.Embedding(1, embed_dim)
        self.random_start = True

    def forward(self, memories: list[Tensor], foregrounds: list[Tensor], batch: int = 1) -> Tensor:
        """Tokens (B, 3n, 256) of n memory frames, in their order; (B, 3, 256) where there is no memory.

        Args:
            memories: per frame (N,B,64), N tokens in rows from the top left, without position encodings.
            foregrounds: per frame (N,B) bool.
            batch: number of objects B.
        """
        empty = self.no_memory_prompt_embeddings_fg.weight.expand(self.tokens, -1)
        if not memories:
            return empty.expand(batch, -1, -1)
        rows = []
        for b in range(batch):
            tokens = [
                self._describe(memory[:, b], inside[:, b]) if bool(inside[:, b].any()) else empty
                for memory, inside in zip(memories, foregrounds)
            ]
            rows.append(torch.cat(tokens))
        return torch.stack(rows)

    def _describe(self, memory: Tensor, inside: Tensor) -> Tensor:
        """Tokens (3,256) of one frame: memory (N,64), inside (N) bool with at least one."""
        side = round(memory.shape[0] ** 0.5)
        index = inside.nonzero()[:, 0]
        features = memory[index]
        position = torch.stack([index // side, index % side], 1).float()
        region, _ = self._cluster(features, position, self.tokens)
        tokens = []
        for k in range(self.tokens):
            member = region == k
            if not bool(member.any()):
                member = torch.ones_like(member)
            part, centres = self._cluster(features[member], position[member], MICRO)
            prototypes = [
                features[member][part == j].mean(0) if bool((part == j).any()) else centres[j] for j in range(MICRO)
            ]
            tokens.append(F.normalize(torch.stack(prototypes), dim=1).flatten())
        return torch.stack(tokens)

    def _cluster(self, features: Tensor, position: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """One assignment by cosine to k farthest points: cluster of every token (M), the points' features (k,64)."""
        centres = features[self._farthest(position, k)]
        likeness = F.normalize(features, dim=1) @ F.normalize(centres, dim=1).T
        return likeness.argmax(1), centres

    def _farthest(self, position: Tensor, k: int) -> Tensor:
        """Indices (k) of points (M,2) spread over the set; with fewer than k points the first is repeated."""
        count = position.shape[0]
        start = int(torch.randint(0, count, (1,))) if self.random_start else 0
        chosen = [start]
        distance = torch.full((count,), torch.inf, device=position.device)
        for _ in range(1, min(k, count)):
            step = (position - position[chosen[-1]]).square().sum(1)
            distance = torch.minimum(distance, step)
            chosen.append(int(distance.argmax()))
        return torch.tensor(chosen + [start] * (k - len(chosen)), device=position.device)
