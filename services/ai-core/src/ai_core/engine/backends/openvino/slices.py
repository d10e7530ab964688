"""How much of a prompt OpenVINO is given at a time.

The pipeline takes the size of a step when it is made. What it computed of a prompt, its cache has: so a long
prompt is given as several ever longer ones, each of which adds a slice, and the size of slices is ours to
choose in every step.
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.engine.backends.openvino.held import BLOCK

STEP = 256
"""Most tokens in one step."""
SLICE = BLOCK
"""Tokens of a long prompt in a step in which others are being answered, unless the configuration says
otherwise. Beside steps of 256 tokens, streams would wait twelve times their own step's time for each token;
with 32 it is about four times."""
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
    slice: int = SLICE
    """Of a long prompt, in a step beside others; 0: prompts are given as they are, all at once."""

    @property
    def blocks(self) -> int:
        """What the cache has room for, in blocks."""
        return self.kv_cells // BLOCK


def is_long(prompt: int, held: int, slice_: int) -> bool:
    """Whether a prompt of so many tokens, of which the cache has some, is given in slices."""
    return slice_ > 0 and prompt - held > WHOLE


def next_limit(prompt: int, done: int, slice_: int, *, others: bool) -> int | None:
    """Up to where a long prompt is given next; None: to its end.

    Args:
        prompt: its tokens.
        done: those that the cache has.
        slice_: tokens in a slice while others are being answered.
        others: whether that is so.
    """
    size = max(BLOCK, slice_ // BLOCK * BLOCK) if others else STEP
    done = done // BLOCK * BLOCK
    return None if prompt - done <= size else done + size
