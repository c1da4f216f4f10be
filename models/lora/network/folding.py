"""Alpha / rank multiplied into the weights of a LoRA, so that it acts alike in programs that read an alpha or none.

Without an alpha every program takes it to be the rank. So what is written says alpha = rank, and is right either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_UPPER = ".lora_B."  # in the name of an upper half [outputs, rank]


def fold(tensors: Mapping[str, torch.Tensor], alpha: float, rank: int) -> dict[str, torch.Tensor]:
    """A LoRA by PEFT's names with alpha / rank in its upper halves, each in the precision that it has."""
    if alpha == rank:
        return dict(tensors)
    scale = alpha / rank
    return {
        name: (value.float() * scale).to(value.dtype) if _UPPER in name else value for name, value in tensors.items()
    }
