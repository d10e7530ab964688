"""Two hundred mails that nobody should send, and the state that each must end in.

``answered``: readable, or at least from somebody who can be told why not. ``ignored``: answering would be a
loop, a mistake, or of no use. ``dead``: no mail at all. Every mail has a sender and a Message-ID of its own
unless that is its point, and everything is the same in each run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hostile_bodies import bodies, files, mime
from hostile_heads import charsets, headers, loops, no_mails, senders
from hostile_parts import ANSWERED, US, Made

__all__ = ["ANSWERED", "US", "Hostile", "hostile"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One mail."""

    name: str
    state: str
    make: Callable[[], bytes]
    sender: str

    def raw(self, us: str = US) -> bytes:
        """Its bytes, addressed to this mailbox."""
        return self.make().replace(US.encode(), us.encode())


def hostile() -> list[Hostile]:
    """All of them; names and senders are unique."""
    groups = (charsets, headers, mime, bodies, files, loops, senders, no_mails)
    found: list[Hostile] = []
    for group in groups:
        for name, state, make in group():
            found.append(_numbered(f"{group.__name__}: {name}", state, make, len(found)))
    return found


def _numbered(name: str, state: str, made: Made, number: int) -> Hostile:
    sender = f"h{number:03}@people.test"

    def make() -> bytes:
        raw = made() if callable(made) else made
        return raw.replace(b"WRITER", sender.encode()).replace(b"NUMBER", str(number).encode())

    return Hostile(name, state, make, sender)
