"""Server-sent events, from the lines in which they arrive.

https://html.spec.whatwg.org/multipage/server-sent-events.html, as far as the AI core uses it: ``event`` and
``data``, one line each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    kind: str
    data: str


async def events(lines: AsyncIterator[str]) -> AsyncGenerator[Event]:
    """The events of a stream; comments are left out, and so is an event that never ended."""
    kind = "message"
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                yield Event(kind, "\n".join(data))
            kind, data = "message", []
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif line.startswith("event:"):
            kind = line[6:].strip()
