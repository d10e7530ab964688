"""Lets out of a growing text what can no longer become part of a match. Pure."""

from __future__ import annotations

from typing import Protocol

from ai_core.inference.content_filter.rules import Rules


class Scanner(Protocol):
    """Looks for one list in one text."""

    def read(self, place: int, character: str) -> bool:
        """Read the ``place``-th character of the text; whether a match is complete now."""

    def end(self, place: int) -> bool:
        """Whether a match is complete because the text ends here."""

    def earliest(self) -> int | None:
        """Where the longest beginning of a match stands that may still be completed."""


class FilteredStream:
    """One text, in whatever pieces it comes: verdict and shown text do not depend on them.

    Every character of a match is held back until the match is complete, so none of it is ever shown;
    what is held back has at most :data:`.syntax.MAX_LENGTH` characters that count.

    Attributes:
        matched: something was found that may not be there. From then on nothing is shown.
    """

    def __init__(self, rules: Rules) -> None:
        self.matched = False
        self._scanners: list[Scanner] = [rules.words.scanner(), rules.patterns.scanner()]
        self._held = ""
        self._held_from = 0
        """The place in the text of the first character that is held back."""

    def push(self, text: str) -> str:
        """Read on; returns what may be shown now, perhaps nothing."""
        if self.matched or not text:
            return ""
        read = self._held_from + len(self._held)
        self._held += text
        safe = self._held_from
        for place, character in enumerate(text, start=read):
            if any(scanner.read(place, character) for scanner in self._scanners):
                self.matched = True
                break
            safe = self._safe(place)
        return self._let_out(safe)

    def finish(self) -> str:
        """The text is over; returns the rest that may be shown."""
        if self.matched:
            return ""
        end = self._held_from + len(self._held)
        self.matched = any(scanner.end(end) for scanner in self._scanners)
        return "" if self.matched else self._let_out(end)

    def _safe(self, place: int) -> int:
        """Up to where nothing can become part of a match any more, when ``place`` was read."""
        begun = [start for scanner in self._scanners if (start := scanner.earliest()) is not None]
        return min(begun, default=place + 1)

    def _let_out(self, safe: int) -> str:
        count = safe - self._held_from
        shown, self._held = self._held[:count], self._held[count:]
        self._held_from = safe
        return shown
