"""What an answer counts as in the usage of its key."""

from __future__ import annotations

from collections.abc import Callable

from ai_core.inference.generation import Progress
from ai_core.inference.requests import Origin
from ai_core.inference.sources import SourcedAnswer
from ai_core.storage.usage import Amount

NoteUsage = Callable[[str, str, Amount], None]
"""Told the id of a key, the name of a model and what was used; returns at once."""


def amount_of(progress: Progress, choice: int = 0) -> Amount:
    """One request, and its tokens if they were computed on its behalf; also where the answer broke off.

    Of several answers to one request (``choice``), only the first counts as one and has the prompt.
    """
    if choice:
        computed = progress.origin is Origin.COMPUTED
        return Amount(completion_tokens=progress.completion_tokens if computed else 0)
    if progress.origin is not Origin.COMPUTED:
        return Amount(requests=1, cached_answers=1)
    return Amount(
        requests=1,
        prompt_tokens=progress.prompt_tokens,
        completion_tokens=progress.completion_tokens,
        cached_prompt_tokens=progress.cached_prompt_tokens,
    )


def amount_read(answer: SourcedAnswer) -> Amount:
    """The same where nothing is generated: embeddings."""
    if answer.origin is not Origin.COMPUTED:
        return Amount(requests=1, cached_answers=1)
    return Amount(requests=1, prompt_tokens=answer.prompt_tokens)


def note_nothing(_key_id: str, _model: str, _amount: Amount) -> None:
    """Where nobody counts."""
