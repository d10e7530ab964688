"""Which prefixes OpenVINO's cache holds, as far as can be told from outside.

The pipeline keeps whole blocks of tokens and puts out the longest unused ones when it needs room, without a
word. This account is made of what was computed and of how much there is room for. Where it is wrong, a
prefix is computed again; nothing else depends on it, and what a request is told comes from the batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ai_core.engine.backends.openvino.marking import Mark
from ai_core.engine.tokens import Tokens

BLOCK = 32
"""Tokens in a block of the CPU's cache."""


@dataclass(slots=True)
class Found:
    """The beginning of a prompt that need not be computed: its tokens, and the marks of its blocks."""

    tokens: int = 0
    marks: dict[int, Mark] = field(default_factory=dict)


class Unfindable:
    """The key of a block that holds nothing of use."""


class HeldPrefixes:
    """Chains of whole blocks; those that were not used for the longest time are forgotten first.

    Args:
        blocks: how many there is room for.
    """

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._held: OrderedDict[int | Unfindable, Mark] = OrderedDict()
        """The mark of each block, by what stands in it and before it."""

    def __len__(self) -> int:
        """Blocks that are held."""
        return len(self._held)

    def computed(self, namespace: str, tokens: Tokens, marks: Mapping[int, Mark]) -> None:
        """All of these tokens are in the cache now, in blocks with these marks. Where the same was computed
        twice, the first one is found from then on."""
        chain = [(key, marks.get(start, ())) for start, key in _chain(namespace, tokens, marks)]
        # The beginning of a chain is used by all that follows: it is the last to be forgotten.
        for key, mark in reversed(chain):
            self._held.setdefault(key, mark)
            self._held.move_to_end(key)
        self._forget_what_is_too_much()

    def wasted(self) -> None:
        """A block was taken for something that nobody will find."""
        self._held[Unfindable()] = ()
        self._forget_what_is_too_much()

    def find(self, namespace: str, prompt: Tokens) -> Found:
        """Which leading tokens of a prompt would not be computed again. The last one always is: the answer
        begins with its logits."""
        found = Found()
        for start, key in _chain(namespace, prompt, found.marks):
            if (mark := self._held.get(key)) is None:
                break
            if mark:
                found.marks[start] = mark
            found.tokens = start + BLOCK
        found.tokens = min(found.tokens, len(prompt) - 1)
        return found

    def _forget_what_is_too_much(self) -> None:
        while len(self._held) > self._blocks:
            self._held.popitem(last=False)


def _chain(namespace: str, tokens: Tokens, marks: Mapping[int, Mark]) -> Iterator[tuple[int, int]]:
    """Where each whole block begins, and a number that stands for it, and for the blocks before it with their
    marks. ``marks`` is looked into when the next block is asked for."""
    parent = hash(namespace)
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        key = hash((parent, tokens[start : start + BLOCK].tobytes()))
        yield start, key
        parent = hash((key, marks.get(start, ())))
