"""Where things stand in a JSON text, so that a mistake can be shown by its line. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from json import JSONDecoder

Place = tuple[str | int, ...]
"""Keys and positions from the outermost object inwards."""

_SPACE = re.compile(r"[ \t\r\n]*")
_decode = JSONDecoder().raw_decode


class KeyTwice(Exception):
    """An object has a key twice, and parsers keep the second only."""

    def __init__(self, place: Place, line: int) -> None:
        super().__init__(place, line)
        self.place = place
        self.line = line


def lines_in(text: str) -> dict[Place, int]:
    """The line, from 1, of each key and of each element of a list, by place; ``()`` is the whole text.

    ``text`` is valid JSON, nested no deeper than a parser with a limit allows. Raises KeyTwice.
    """
    reader = _Reader(text)
    reader.value((), reader.after_space(0))
    return reader.lines


def nearest_line(lines: dict[Place, int], place: Sequence[str | int]) -> int:
    """The line of a place, or of what it should stand in, where it is missing."""
    return next(lines[found] for end in range(len(place), -1, -1) if (found := tuple(place[:end])) in lines)


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._text = text
        self._counted = 0
        self._line = 1

    def after_space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return at if found is None else found.end()

    def value(self, place: Place, at: int) -> int:
        """Read the value that begins here; returns where it ends."""
        self.lines.setdefault(place, self._line_at(at))
        match self._text[at]:
            case "{":
                return self._members(place, at)
            case "[":
                return self._elements(place, at)
            case _:
                return int(_decode(self._text, at)[1])

    def _members(self, place: Place, at: int) -> int:
        at = self.after_space(at + 1)
        while self._text[at] != "}":
            key, end = _decode(self._text, at)
            member = (*place, str(key))
            if member in self.lines:
                raise KeyTwice(member, self._line_at(at))
            self.lines[member] = self._line_at(at)
            colon = self.after_space(end)
            at = self._next(self.value(member, self.after_space(colon + 1)))
        return at + 1

    def _elements(self, place: Place, at: int) -> int:
        at = self.after_space(at + 1)
        number = 0
        while self._text[at] != "]":
            at = self._next(self.value((*place, number), at))
            number += 1
        return at + 1

    def _next(self, at: int) -> int:
        """Behind the comma, or at the closing bracket."""
        at = self.after_space(at)
        return self.after_space(at + 1) if self._text[at] == "," else at

    def _line_at(self, at: int) -> int:
        # Places come in the text's order, so each line break is counted once.
        self._line += self._text.count("\n", self._counted, at)
        self._counted = max(self._counted, at)
        return self._line
