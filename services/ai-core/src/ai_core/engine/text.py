"""From the bytes of tokens to the text that may be shown.

Two things are held back: bytes at the end that are not a whole UTF-8 character yet, and text at
the end that may be the beginning of a stop string.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextAssembler:
    """The text of one answer, as it grows.

    Args:
        stop: strings that end the answer. Empty ones are ignored.

    An answer ends with the first character that completes a stop string, whichever one that is.
    Where one character completes several, the longest of them is cut off. So the shown text does not
    depend on how the bytes were cut into pieces, and nobody has to wait for a longer stop string after
    a shorter one is complete.

    Bytes that cannot become UTF-8 are shown as U+FFFD as soon as that is certain.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        """Whether a stop string was completed. From then on nothing is shown."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [_StopString(text) for text in stop if text]
        self._held = ""

    def push(self, piece: bytes) -> str:
        """Add the bytes of a token; returns the text that may be shown now. May be empty."""
        return self._advance(self._decoder.decode(piece))

    def finish(self) -> str:
        """The answer is over: returns what was held back and belongs to it. Empty after a stop string."""
        shown = self._advance(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return shown

    def _advance(self, text: str) -> str:
        if self.stopped or not text:
            return ""
        if not self._stops:
            return text
        pending = self._held + text
        cut = self._earliest_stop(text, pending)
        if cut is not None:
            self.stopped = True
            self._held = ""
            return pending[:cut]
        border = len(pending) - max(stop.matched for stop in self._stops)
        self._held = pending[border:]
        return pending[:border]

    def _earliest_stop(self, text: str, pending: str) -> int | None:
        """Where in ``pending``, which ends with the new ``text``, the shown text ends; None: nowhere yet."""
        ends = [(end, -len(stop.text)) for stop in self._stops if (end := stop.feed(text)) is not None]
        if not ends:
            return None
        end, negative_length = min(ends)
        return len(pending) - len(text) + end + negative_length


class _StopString:
    """Finds one string in a text that comes in pieces (Knuth, Morris and Pratt, 1977)."""

    __slots__ = ("_borders", "matched", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        """Characters at the end of the text so far that are the beginning of this string."""
        self._borders = _borders(text)

    def feed(self, text: str) -> int | None:
        """Read on; returns how many characters of ``text`` completed the string, None if it is incomplete."""
        start = 0 if self.matched else text.find(self.text[0])
        if start < 0:
            return None
        for index in range(start, len(text)):
            self._read(text[index])
            if self.matched == len(self.text):
                return index + 1
        return None

    def _read(self, character: str) -> None:
        while self.matched and self.text[self.matched] != character:
            self.matched = self._borders[self.matched - 1]
        if self.text[self.matched] == character:
            self.matched += 1


def _borders(text: str) -> list[int]:
    """For each prefix of a text: the length of its longest proper prefix that is also its suffix."""
    borders = [0] * len(text)
    length = 0
    for index in range(1, len(text)):
        while length and text[length] != text[index]:
            length = borders[length - 1]
        if text[length] == text[index]:
            length += 1
        borders[index] = length
    return borders
