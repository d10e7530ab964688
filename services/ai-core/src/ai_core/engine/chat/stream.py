"""Reading a text that comes in pieces, as if it were there at once.

A reader is written as a generator: where it needs a character that has not come yet, it yields, and it is
resumed when there is more. So it reads like an ordinary recursive parser, and its result cannot depend on
how the text was cut.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]
"""A reader that has a result in the end."""


class Ended(Exception):
    """There is no further character."""


class Inlet:
    """The text so far, and how far it was read.

    Attributes:
        at: the place of the next character in ``text``. Whoever reads moves it on.
        kept: what lies before this place may be forgotten; None: before ``at``.
    """

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.kept: int | None = None
        self._closed = False

    def feed(self, text: str) -> None:
        """More has come. Places found before are not valid any more, but ``at`` and ``kept`` are."""
        forgotten = self.at if self.kept is None else self.kept
        self.text = self.text[forgotten:] + text
        self.at -= forgotten
        if self.kept is not None:
            self.kept = 0

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True

    def more(self) -> Reading[bool]:
        """Wait for a character. False: there is none any more."""
        while self.at == len(self.text):
            if self._closed:
                return False
            yield
        return True

    def peek(self) -> Reading[str]:
        """The next character, not yet read. Raises Ended."""
        if not (yield from self.more()):
            raise Ended
        return self.text[self.at]

    def stands_here(self, expected: str) -> Reading[bool]:
        """Whether this text comes next. Waits no longer than until that is certain."""
        while True:
            here = self.text[self.at : self.at + len(expected)]
            if not expected.startswith(here):
                return False
            if len(here) == len(expected):
                return True
            if self._closed:
                return False
            yield

    def skip(self, characters: str) -> Reading[bool]:
        """Read on to the first character that is none of these. False: there is none any more."""
        while (yield from self.more()):
            if self.text[self.at] not in characters:
                return True
            self.at += 1
        return False

    def take(self, characters: int) -> str:
        """Read so many characters that have come."""
        taken = self.text[self.at : self.at + characters]
        self.at += len(taken)
        return taken

    def take_until(self, character: str) -> str:
        """Read what has come, up to this character."""
        place = self.text.find(character, self.at)
        return self.take(len(self.text) - self.at if place < 0 else place - self.at)
