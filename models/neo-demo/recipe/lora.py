"""Low-rank adaptation of the network: y = Wx + (alpha / rank) B A x, where only A and B are trained.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, arXiv 2106.09685.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipe.model import Decoder

TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class Rank:
    rank: int = 8
    alpha: float = 16.0

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class Adapted(nn.Module):
    """A frozen matrix and its adaptation, which changes nothing before it is trained (B is zero)."""

    def __init__(self, base: nn.Linear, rank: Rank) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = rank.scale
        self.lora_a = nn.Parameter(torch.empty(rank.rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=5**0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        plain: Tensor = self.base(hidden)
        return plain + self.scale * functional.linear(functional.linear(hidden, self.lora_a), self.lora_b)


def adapt(model: Decoder, rank: Rank) -> list[nn.Parameter]:
    """Freezes the network and puts an adaptation on each matrix of its blocks; returns what is trained."""
    model.requires_grad_(False)
    trained: list[nn.Parameter] = []
    for block in model.blk:
        for name in TARGETS:
            adapted = Adapted(getattr(block, name), rank)
            setattr(block, name, adapted)
            trained += [adapted.lora_a, adapted.lora_b]
    return trained


def adaptations(model: Decoder) -> Iterator[tuple[str, Adapted]]:
    """By the names of a GGUF file: ``blk.0.attn_q``."""
    for layer, block in enumerate(model.blk):
        for name in TARGETS:
            yield f"blk.{layer}.{name}", getattr(block, name)
