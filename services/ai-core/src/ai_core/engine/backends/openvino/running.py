"""One sequence inside the OpenVINO backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ai_core.engine.backends.openvino.choosing import Chooser
from ai_core.engine.backends.openvino.marking import InputIds, Mark
from ai_core.engine.backends.port import Chances, Sequence
from ai_core.engine.tokens import Tokens


@dataclass(slots=True, eq=False)
class Running:
    """From submission to the last token. Implements :class:`.rows.Known`."""

    sequence: Sequence
    chooser: Chooser | None
    """None: plain greedy; OpenVINO chooses by itself."""
    priority: int
    ids: InputIds | None = None
    """The prompt as OpenVINO gets it; None: it was not given any of it yet."""
    marks: dict[int, Mark] = field(default_factory=dict)
    """Which of its blocks are marked, by their first token."""
    handle: Any = None
    """OpenVINO's, of the request that is under way; None: the next slice of the prompt waits for its turn."""
    limit: int | None = None
    """How much of a long prompt OpenVINO has been given so far; None: all of it."""
    beyond: int = 0
    """1: of the token behind that limit, too (``slices``)."""
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
    def length(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return len(self.sequence.prompt) + len(self.generated)

    @property
    def known(self) -> int:
        """The same, as far as OpenVINO was given it."""
        return self.length if self.limit is None else self.limit + self.beyond

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
