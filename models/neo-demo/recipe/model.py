"""The network: a small decoder of the Qwen3 kind, in plain PyTorch.

The names of the parameters are those of a GGUF file (``blk.0.attn_q.weight``…), so the export needs no
table, and every shape is what ``qwen3`` means to the engines: RMS norms before attention and before the
feed-forward part, one more on every query and key head, rotary positions by halves, grouped queries,
SwiGLU, no biases, and the embedding used again as the output matrix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 64
    feed_forward: int = 768
    context: int = 2048
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-6


class Rotary(nn.Module):
    """Turns query and key heads by their position; pairs are (i, i + half), as Qwen and llama.cpp have it."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        exponents = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float32), shape.rope_base**-exponents)
        self.register_buffer("cosine", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sine", angles.sin().repeat(1, 2), persistent=False)

    def forward(self, heads: Tensor) -> Tensor:
        """``heads`` is (batch, heads, positions, head width)."""
        positions = heads.shape[-2]
        first, second = heads.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
        rotated: Tensor = heads * self.cosine[:positions] + turned * self.sine[:positions]
        return rotated


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention, written out: at our lengths PyTorch's own trains at a third of the speed on a CPU."""
    positions, head_width = queries.shape[-2:]
    future = torch.ones(positions, positions, dtype=torch.bool).triu(1)
    scores = (queries * head_width**-0.5) @ keys.transpose(-1, -2)
    weights = scores.masked_fill(future, -torch.inf).softmax(-1, dtype=torch.float32)
    seen: Tensor = weights.to(values.dtype) @ values
    return seen


class Block(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.attn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.attn_q = nn.Linear(shape.width, queries, bias=False)
        self.attn_k = nn.Linear(shape.width, keys, bias=False)
        self.attn_v = nn.Linear(shape.width, keys, bias=False)
        self.attn_q_norm = nn.RMSNorm(shape.head_width, shape.norm_epsilon)
        self.attn_k_norm = nn.RMSNorm(shape.head_width, shape.norm_epsilon)
        self.attn_output = nn.Linear(queries, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def attend(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        batch, positions, _ = hidden.shape

        def split(projected: Tensor) -> Tensor:
            return projected.view(batch, positions, -1, self.shape.head_width)

        # Norms and rotation run in 32 bits, also where autocast made the projections 16 bits wide.
        queries = rotary(self.attn_q_norm(split(self.attn_q(hidden)).float()).transpose(1, 2))
        keys = rotary(self.attn_k_norm(split(self.attn_k(hidden)).float()).transpose(1, 2))
        values = split(self.attn_v(hidden)).transpose(1, 2)
        shared = self.shape.heads // self.shape.kv_heads
        seen = attention(
            queries.to(values.dtype),
            keys.to(values.dtype).repeat_interleave(shared, dim=1),
            values.repeat_interleave(shared, dim=1),
        )
        joined: Tensor = self.attn_output(seen.transpose(1, 2).reshape(batch, positions, -1))
        return joined

    def forward(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        hidden = hidden + self.dropout(self.attend(self.attn_norm(hidden), rotary))
        normed = self.ffn_norm(hidden)
        fed = self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))
        added: Tensor = hidden + self.dropout(fed)
        return added


class Decoder(nn.Module):
    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.rotary = Rotary(shape)
        self.dropout = nn.Dropout(dropout)
        self.initialise()

    def initialise(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        # What is added to the residual stream starts smaller, or its variance grows with the depth.
        for name, parameter in self.named_parameters():
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * self.shape.layers) ** 0.5)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Token ids (batch, positions) to the normed last hidden states."""
        hidden = self.dropout(self.token_embd(tokens))
        for block in self.blk:
            hidden = block(hidden, self.rotary)
        normed: Tensor = self.output_norm(hidden)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.token_embd.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits(self.hidden(tokens))
