"""One sequence inside the llama.cpp backend."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ai_core.engine.backends.llama_cpp.kv_cache import Saved
from ai_core.engine.backends.llama_cpp.sampling import Sampler
from ai_core.engine.backends.llama_cpp.scheduler import DecodeView, PrefillView, Tenant
from ai_core.engine.backends.port import Sequence, Tokens


@dataclass(slots=True, eq=False)
class Running:
    """From admission to the last token.

    ``computed`` counts the tokens whose keys and values are in the cache. All known tokens are
    prompt and generated ones; the last generated token is always still to be computed.
    """

    sequence: Sequence
    slot: int
    computed: int
    admitted: int
    sampler: Sampler | None
    """None: plain greedy."""
    priority: int
    committed: int
    """Of the computed tokens, those that are in the prefix tree."""
    entered: bool = False
    """Whether room was found for it, so that its prompt may be computed."""
    generated: list[int] = field(default_factory=list)
    paused: bool = False
    saved: Saved | None = None

    @property
    def id(self) -> int:
        return self.sequence.id

    @property
    def known(self) -> int:
        return len(self.sequence.prompt) + len(self.generated)

    @property
    def remaining(self) -> int:
        """Known tokens that are not computed."""
        return self.known - self.computed

    @property
    def decodes(self) -> bool:
        """Whether its next row is the token generated last."""
        return self.entered and not self.paused and bool(self.generated) and self.remaining == 1

    @property
    def prefills(self) -> bool:
        return self.entered and not self.paused and not self.decodes

    def tokens(self, start: int, end: int) -> Tokens:
        """Known tokens [start, end)."""
        prompt = self.sequence.prompt
        if end <= len(prompt):
            return prompt[start:end]
        own = slice(max(0, start - len(prompt)), end - len(prompt))
        generated = np.asarray(self.generated[own], dtype=np.int32)
        return generated if start >= len(prompt) else np.concatenate((prompt[start:], generated))

    @property
    def uncommitted(self) -> Tokens:
        return self.tokens(self.committed, self.computed)

    def decode_view(self) -> DecodeView:
        return DecodeView(self.id, self.computed, self.sequence.adapter)

    def prefill_view(self) -> PrefillView:
        group = self.sequence.adapter
        return PrefillView(self.id, self.computed, self.remaining, self.priority, self.admitted, group)

    def tenant(self) -> Tenant:
        return Tenant(self.id, self.priority, self.admitted)

    def service_order(self) -> tuple[int, int]:
        """Sorts by priority, then by admission."""
        return (-self.priority, self.admitted)
