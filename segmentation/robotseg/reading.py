"""Attention to memories."""

from __future__ import annotations

from sam2.modeling.sam.transformer import RoPEAttention


class MemoryReading(RoPEAttention):
    """sam2's attention to memories."""
