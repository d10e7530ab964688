"""How much of a prompt goes into one step."""

from __future__ import annotations

FIRST_CHUNK = 64
MOST_TOKENS = 1024
STEP_SECONDS = 0.5
"""Between two steps a caller may leave, and the engine shows that it is alive."""
_SHORTEST_SECONDS = 1e-6


def next_chunk(tokens: int, seconds: float) -> int:
    """Tokens for a step of about :data:`STEP_SECONDS`, after a step of ``tokens`` took ``seconds``.

    At most twice as many as the last time: attention makes later tokens dearer.
    """
    affordable = int(tokens * STEP_SECONDS / max(seconds, _SHORTEST_SECONDS))
    return max(1, min(affordable, 2 * tokens, MOST_TOKENS))
