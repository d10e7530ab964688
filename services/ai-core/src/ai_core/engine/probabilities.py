"""Log probabilities on their way out: each with the text that its token made."""

from __future__ import annotations

import codecs
from collections import deque

from ai_core.engine.messages import TokenLogprob


class Probabilities:
    """Holds an entry back until the text of its token is shown.

    Text may wait for the rest of a character or of a stop string, and what a stop string cuts off is no
    part of the answer, nor are its tokens. Positions are counted in characters.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._read = 0
        self._shown = 0
        self._held: deque[tuple[int, int, TokenLogprob]] = deque()

    def push(self, piece: bytes, entry: TokenLogprob, shown: str) -> list[TokenLogprob]:
        """Add a token, and what became visible with it; returns the entries that belong to that."""
        start = self._read
        self._read += len(self._decoder.decode(piece))
        # Bytes that wait for the rest of a character belong to that character.
        waiting, _ = self._decoder.getstate()
        self._held.append((start, self._read + bool(waiting), entry))
        self._shown += len(shown)
        released = []
        while self._held and self._held[0][1] <= self._shown:
            released.append(self._held.popleft()[2])
        return released

    def finish(self, *, stopped: bool) -> list[TokenLogprob]:
        """The answer is over: what is left of its entries. After a stop string (``stopped``), these are
        the ones whose tokens began before it."""
        return [entry for start, _, entry in self._held if not stopped or start < self._shown]
