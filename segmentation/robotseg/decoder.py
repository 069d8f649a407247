"""sam2's mask decoder with RobotSeg's tokens: one for the class asked for, and those of the prompt generator."""

from __future__ import annotations

from sam2.modeling.sam.mask_decoder import MaskDecoder
from torch import Tensor, cat, nn

PARTS = ("arm", "gripper", "robot")  # rows of the class tokens; the weights depend on this order


class RobotMaskDecoder(MaskDecoder):
    """The new tokens go between sam2's output tokens and the prompts, so sam2's outputs keep their places.

    Attributes:
        robot_tokens: (B,n,256) for the coming calls, or None: then it is sam2's decoder.
    """

    def __init__(self, *, transformer_dim: int, **arguments: object):
        super().__init__(transformer_dim=transformer_dim, **arguments)
        self.robot_token_embedding = nn.Embedding(len(PARTS), transformer_dim)
        self.robot_tokens: Tensor | None = None

    def tokens_of(self, part: str, objects: Tensor) -> Tensor:
        """Class token of a part before object tokens (B,n,256): (B,1+n,256)."""
        token = self.robot_token_embedding.weight[PARTS.index(part)]
        return cat([token.expand(objects.shape[0], 1, -1), objects], 1)

    def forward(self, *, sparse_prompt_embeddings: Tensor, **arguments: object) -> tuple[Tensor, ...]:  # type: ignore[override]
        """As sam2's."""
        if self.robot_tokens is not None:
            sparse_prompt_embeddings = cat([self.robot_tokens, sparse_prompt_embeddings], 1)
        return super().forward(sparse_prompt_embeddings=sparse_prompt_embeddings, **arguments)
