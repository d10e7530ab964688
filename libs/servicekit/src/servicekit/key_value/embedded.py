"""A store inside this process: the embedded default. What it holds ends with the process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

ENTRY_BYTES = 400
"""What an entry costs beside its texts: the objects around it."""

_Place = tuple[str | None, str]
"""The index, None for a plain key; and the key or member."""


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    expires: float
    size: int


class EmbeddedStore:
    """Implements :class:`.port.KeyValueStore`, bounded in bytes: what was not used for longest goes first.

    A value that is larger than the bound is forgotten at once.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[_Place, _Entry] = OrderedDict()
        self._members: dict[str, set[str]] = {}
        self.used_bytes = 0

    @property
    def entries(self) -> int:
        """Values and members that are held, some of them perhaps past their time."""
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        return self._get((None, key))

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        self._put((None, key), value, ttl)

    async def swap(self, key: str, expected: bytes | None, value: bytes | None, ttl: float) -> bool:
        place = (None, key)
        if self._get(place) != expected:
            return False
        if value is None:
            self._drop(place)
        else:
            self._put(place, value, ttl)
        return True

    async def delete(self, key: str) -> bool:
        place = (None, key)
        present = self._get(place) is not None
        self._drop(place)
        return present

    async def index_put(self, index: str, member: str, value: bytes, ttl: float) -> None:
        self._put((index, member), value, ttl)

    async def index_remove(self, index: str, member: str) -> None:
        self._drop((index, member))

    async def index_list(self, index: str, limit: int) -> list[tuple[str, bytes]]:
        now = self._clock()
        found: list[tuple[float, str, bytes]] = []
        for member in list(self._members.get(index, ())):
            entry = self._entries[index, member]
            if entry.expires <= now:
                self._drop((index, member))
            else:
                found.append((entry.expires, member, entry.value))
        found.sort(reverse=True)
        return [(member, value) for _, member, value in found[:limit]]

    async def ping(self) -> float:
        return 0.0

    async def close(self) -> None:
        """What is held goes with the process."""

    def _get(self, place: _Place) -> bytes | None:
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return entry.value

    def _put(self, place: _Place, value: bytes, ttl: float) -> None:
        self._drop(place)
        index, name = place
        entry = _Entry(value, self._clock() + ttl, ENTRY_BYTES + len(name.encode()) + len(value))
        self._entries[place] = entry
        self.used_bytes += entry.size
        if index is not None:
            self._members.setdefault(index, set()).add(name)
        while self.used_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, place: _Place) -> None:
        entry = self._entries.pop(place, None)
        if entry is None:
            return
        self.used_bytes -= entry.size
        index, name = place
        if index is not None:
            members = self._members[index]
            members.discard(name)
            if not members:
                del self._members[index]
