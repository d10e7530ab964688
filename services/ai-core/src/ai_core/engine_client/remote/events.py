"""Server-sent events from bytes. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventTooLong(ValueError):
    """More than :data:`MAX_EVENT_BYTES` without an end."""


class EventReader:
    """Feed bytes as they come, and get the data of whole events; other fields and comments are left out."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, piece: bytes) -> list[str]:
        """Raises EventTooLong, and UnicodeDecodeError (both ValueErrors)."""
        found: list[str] = []
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        if piece:
            self._after_return = piece.endswith(b"\r")
        lines = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for number, part in enumerate(lines):
            if number:
                self._end_line(found)
            self._line += part
            if len(self._line) + self._size > MAX_EVENT_BYTES:
                raise EventTooLong(f"more than {MAX_EVENT_BYTES} bytes in one event")
        return found

    def _end_line(self, found: list[str]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line:
            if self._data:
                found.append(b"\n".join(self._data).decode())
            self._data.clear()
            self._size = 0
        elif line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._size += len(data)
