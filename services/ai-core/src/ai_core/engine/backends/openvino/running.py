"""One sequence inside the OpenVINO backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ai_core.engine.backends.openvino.choosing import Chooser
from ai_core.engine.backends.port import Chances, Sequence
from ai_core.engine.tokens import Tokens


@dataclass(slots=True, eq=False)
class Running:
    """From submission to the last token. Implements :class:`.rows.Known`."""

    sequence: Sequence
    handle: Any
    """OpenVINO's, of the request."""
    chooser: Chooser | None
    """None: plain greedy; OpenVINO chooses by itself."""
    next: int | None = None
    reused: int = 0
    """Blocks' tokens that it found in the cache."""
    generated: list[int] = field(default_factory=list)
    chosen: int | None = None
    """What was chosen in this step."""
    chances: Chances | None = None
    lost: str = ""
    """Why its grammar cannot be followed any further."""

    @property
    def id(self) -> int:
        return self.sequence.id

    @property
    def known(self) -> int:
        return len(self.sequence.prompt) + len(self.generated)

    def token(self, position: int) -> int:
        """A known token."""
        own = position - len(self.sequence.prompt)
        return self.generated[own] if own >= 0 else int(self.sequence.prompt[position])

    def tokens(self, start: int, end: int) -> Tokens:
        """Known tokens [start, end)."""
        prompt = self.sequence.prompt
        if end <= len(prompt):
            return prompt[start:end]
        own = slice(max(0, start - len(prompt)), end - len(prompt))
        generated = np.asarray(self.generated[own], dtype=np.int32)
        return generated if start >= len(prompt) else np.concatenate((prompt[start:], generated))
