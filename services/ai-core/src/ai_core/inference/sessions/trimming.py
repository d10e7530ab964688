"""Which turns of a conversation go when it grows too long. Pure.

What an engine has computed of a conversation is good for the next turn as long as the beginning stays
the same. So turns are not taken away one by one, each time a little from the front, but rarely and many
at once: the conversation keeps its beginning until it has grown by a quarter of all room.
"""

from __future__ import annotations

from collections.abc import Sequence

KEPT_SHARE = 0.75
"""What is left after a cut, of tokens and of turns."""


def turns_to_drop(sizes: Sequence[int], *, fixed: int, budget: int, max_turns: int) -> int:
    """How many turns to take away from the front; 0 while everything fits.

    Args:
        sizes: tokens of each turn so far, the oldest first.
        fixed: tokens that stay in any case: instructions, and what is new.
        budget: tokens that all of it may have together.
        max_turns: turns that may stay, beside what is new.
    """
    left = sum(sizes)
    if fixed + left <= budget and len(sizes) <= max_turns:
        return 0
    goal, most = KEPT_SHARE * budget, int(KEPT_SHARE * max_turns)
    dropped = 0
    while dropped < len(sizes) and (fixed + left > goal or len(sizes) - dropped > most):
        left -= sizes[dropped]
        dropped += 1
    return dropped
