"""Tokens by model and by the id of the API key that used them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from ai_core.inference.usage import NoteUsage
from ai_core.storage.usage import Amount

MAX_KEYS = 500
OTHER_KEYS = "other"
"""All keys beyond the first 500 that this process has met: the number of series has an end."""


class KeyMetrics:
    """The families, registered once where the application is put together."""

    def __init__(self, registry: CollectorRegistry, max_keys: int = MAX_KEYS) -> None:
        self._tokens = Counter(
            "neo_key_tokens",
            "Tokens by key: prompts, what of them was in the prefix cache, and answers.",
            ["model", "key_id", "kind"],
            registry=registry,
        )
        self._answers = Counter("neo_key_answers", "Answers by key.", ["model", "key_id"], registry=registry)
        self._max_keys = max_keys
        self._keys: set[str] = set()

    def counting(self, note: NoteUsage) -> NoteUsage:
        """The same as ``note``, which is also counted here. Told of authenticated keys only."""

        def note_and_count(key_id: str, model: str, amount: Amount) -> None:
            self._count(self._label(key_id), model, amount)
            note(key_id, model, amount)

        return note_and_count

    def _label(self, key_id: str) -> str:
        if key_id not in self._keys:
            if len(self._keys) >= self._max_keys:
                return OTHER_KEYS
            self._keys.add(key_id)
        return key_id

    def _count(self, key_id: str, model: str, amount: Amount) -> None:
        self._answers.labels(model, key_id).inc(amount.requests)
        for kind, tokens in (
            ("prompt", amount.prompt_tokens),
            ("cached_prompt", amount.cached_prompt_tokens),
            ("completion", amount.completion_tokens),
        ):
            if tokens:
                self._tokens.labels(model, key_id, kind).inc(tokens)
