"""Which prefixes OpenVINO's cache holds, as far as can be told from outside.

The pipeline keeps whole blocks of tokens and puts out the longest unused ones when it needs room, without a
word. This account is made of what was computed and of how much there is room for. Where it is wrong, a
prefix is computed again; nothing else depends on it, and what a request is told comes from the batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ai_core.engine.tokens import Tokens

BLOCK = 32
"""Tokens in a block of the CPU's cache."""


class Unfindable:
    """The key of a block that holds nothing of use."""


class HeldPrefixes:
    """Chains of whole blocks; those that were not used for the longest time are forgotten first.

    Args:
        blocks: how many there is room for.
    """

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._held: OrderedDict[int | Unfindable, None] = OrderedDict()

    def __len__(self) -> int:
        """Blocks that are held."""
        return len(self._held)

    def computed(self, namespace: str, tokens: Tokens) -> None:
        """All of these tokens are in the cache now."""
        # The beginning of a chain is used by all that follows: it is the last to be forgotten.
        for key in reversed(list(_chain(namespace, tokens))):
            self._held[key] = None
            self._held.move_to_end(key)
        self._forget_what_is_too_much()

    def wasted(self) -> None:
        """A block was taken for something that nobody will find."""
        self._held[Unfindable()] = None
        self._forget_what_is_too_much()

    def count(self, namespace: str, prompt: Tokens) -> int:
        """How many leading tokens of a prompt would not be computed again. The last one always is: the answer
        begins with its logits."""
        held = 0
        for key in _chain(namespace, prompt):
            if key not in self._held:
                break
            held += BLOCK
        return min(held, len(prompt) - 1)

    def _forget_what_is_too_much(self) -> None:
        while len(self._held) > self._blocks:
            self._held.popitem(last=False)


def _chain(namespace: str, tokens: Tokens) -> Iterator[int]:
    """A number for each whole block, which stands for all tokens up to its end."""
    key = hash(namespace)
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        key = hash((key, tokens[end - BLOCK : end].tobytes()))
        yield key
