"""How much of a prompt OpenVINO is given at a time.

The pipeline takes the size of a step when it is made. What it computed of a prompt, its cache has: so a long
prompt is given as several ever longer ones, each of which adds a slice, and the size of slices is ours to
choose in every step.

The cache finds whole blocks, and of a block that is not full the part that was computed when the block was
new. What is added to such a part later is found only once the block is full and a token stands behind it. So
a block may come in two halves: behind the second one, a token of the next block is computed along that no
prompt has (:func:`.marking.cut`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.engine.backends.openvino.held import BLOCK
from ai_core.engine.backends.step_cost import Load, StepCost

STEP = 256
"""Most tokens in one step."""
HALF = BLOCK // 2
"""Tokens in the smallest slice."""
SIZES = (192, 128, 96, 64, 48, BLOCK, HALF)
"""Of slices beside others, in tokens. With its streams, a step of the largest one is within ``STEP``."""
STRETCH = 2.0
"""What a step may take beside its own streams, of the time of a step without a slice. Steps of 256 tokens
would take twelve times as long. With less, a long prompt is read more slowly than it has to be: it computes
the streams' tokens along in each of its steps."""
WHOLE = 128
"""A prompt with so many tokens left is computed in one piece: slices of it would cost more, and all would
wait longer in sum."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a model and its cache, in tokens."""

    vocabulary: int
    """Tokens that the model has logits for."""
    context_length: int
    """Most tokens in one sequence."""
    max_sequences: int
    """How many may run at once."""
    kv_cells: int
    """What the cache has room for."""

    @property
    def blocks(self) -> int:
        """What the cache has room for, in blocks."""
        return self.kv_cells // BLOCK


@dataclass(frozen=True, slots=True)
class Slicing:
    """How long prompts are read beside others."""

    fixed: int = 0
    """Tokens in a slice; 0: as many as the time allows."""
    itl_target_ms: float = 0.0
    """What a step may take; 0: so many times what it takes without a slice (``STRETCH``)."""


def is_long(prompt: int, held: int) -> bool:
    """Whether a prompt of so many tokens, of which the cache has some, is given in slices."""
    return prompt - held > WHOLE


def size_beside(streams: Load, depth: int, cost: StepCost, slicing: Slicing) -> int:
    """Tokens of the next slice of a prompt, beside others that are being answered.

    Args:
        streams: what these others take in a step.
        depth: tokens of the prompt that the cache has.
        cost: what steps cost here.
        slicing: what is wanted.
    """
    if slicing.fixed:
        return max(HALF, slicing.fixed // HALF * HALF)
    most = slicing.itl_target_ms or STRETCH * cost.predict(streams)
    return next((size for size in SIZES if cost.predict(streams.plus(size, depth)) <= most), HALF)


def next_limit(prompt: int, done: int, size: int) -> int | None:
    """Up to where a long prompt is given next, in half blocks; None: to its end.

    Args:
        prompt: its tokens.
        done: those that the cache has.
        size: tokens in the next slice, in half blocks.
    """
    done = done // HALF * HALF
    return None if prompt - done <= size else done + size


def fills_a_block(done: int, limit: int) -> bool:
    """Whether a slice only fills a block of which the cache has a part: it is found later if a token stands
    behind it."""
    return limit % BLOCK == 0 and limit - done // HALF * HALF < BLOCK
