"""Answers kept for those who ask the same again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ai_core.engine.messages import Delta, Finished
from servicekit.key_value.port import KeyValueStore
from servicekit.storage.sealing import Seal, Unreadable

MAX_ENTRY_BYTES = 256 * 1024
"""A longer answer is not kept: it would push many others out."""
_EVERYBODY = b""


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer as the engine gave it."""

    prompt_tokens: int
    deltas: list[Delta]
    finished: Finished

    @classmethod
    def of(cls, prompt_tokens: int, events: Sequence[Delta | Finished]) -> KeptAnswer | None:
        """None unless the answer came to its end."""
        *deltas, last = events or (None,)
        if not isinstance(last, Finished) or last.reason == "cancelled":
            return None
        return cls(prompt_tokens, [event for event in deltas if isinstance(event, Delta)], last)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptAnswer)


class ResponseCache:
    """Exact matches only; each entry belongs to one API key, unless ``shared``."""

    def __init__(self, store: KeyValueStore, seal: Seal, *, ttl: float, shared: bool = False) -> None:
        """``ttl`` is in seconds; 0: nothing is kept."""
        self._store = store
        self._seal = seal
        self._ttl = ttl
        self._shared = shared

    def place(self, revision: str, key_id: str, identity: bytes) -> str:
        """Where the answer to such a request is kept: SHA-256 over all that decides it."""
        owner = _EVERYBODY if self._shared else key_id.encode()
        return "cache:" + self._seal.name(revision.encode(), owner, identity)

    async def get(self, place: str) -> KeptAnswer | None:
        """What is kept there; None if it cannot be read, too. Raises StoreUnavailable."""
        if not self._ttl:
            return None
        stored = await self._store.get(place)
        if stored is None:
            return None
        try:
            return _decoder.decode(self._seal.open(stored, place))
        except (Unreadable, msgspec.DecodeError):
            return None

    async def put(self, place: str, answer: KeptAnswer) -> None:
        """Keep an answer, unless it is too large. Raises StoreUnavailable."""
        if not self._ttl:
            return
        value = _encoder.encode(answer)
        if len(value) <= MAX_ENTRY_BYTES:
            await self._store.set(place, self._seal.close(value, place), self._ttl)
