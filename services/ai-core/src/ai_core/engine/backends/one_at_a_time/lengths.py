"""How long a sequence may become."""

from __future__ import annotations

from ai_core.engine.backends.loading import CannotLoad

DEFAULT_CONTEXT = 8_192
"""Longest context that is taken unasked."""
UNSTATED_CONTEXT = 2_048
"""Of a model that does not say what it was trained for."""


def context_length(wanted: int, trained: int) -> int:
    """Tokens per sequence: what is asked for, or what the model was trained for up to a default.

    Args:
        wanted: 0: as long as is sensible.
        trained: 0: unknown.

    Raises:
        CannotLoad: more is asked for than the model was trained for.
    """
    if not trained:
        return wanted or UNSTATED_CONTEXT
    if wanted > trained:
        raise CannotLoad(f"context_length {wanted} is more than the model's {trained} tokens")
    return wanted or min(trained, DEFAULT_CONTEXT)
