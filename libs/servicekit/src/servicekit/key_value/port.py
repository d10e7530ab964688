"""The port: values by key, and indexes that list what belongs together."""

from __future__ import annotations

from typing import Protocol


class KeyValueStore(Protocol):
    """Bytes by key, each for a time. A store may forget anything at any moment: room runs out, or the
    server that holds it starts anew. Times to live are in seconds, above 0.

    An index is a list of members with a small value each, under a name of its own; it and a key may have
    the same name. Every method but ``close`` raises ``StoreUnavailable``.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Put a value in the place of whatever is there."""

    async def swap(self, key: str, expected: bytes | None, value: bytes | None, ttl: float) -> bool:
        """Atomically put ``value`` in the place of ``expected``; None stands for "nothing there" on
        either side. False: something else was there, and nothing has changed."""

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""

    async def index_put(self, index: str, member: str, value: bytes, ttl: float) -> None:
        """Add a member, or give it a new value and a new time."""

    async def index_remove(self, index: str, member: str) -> None:
        """Take a member out, if it is there."""

    async def index_list(self, index: str, limit: int) -> list[tuple[str, bytes]]:
        """At most ``limit`` members, those that will stay longest first."""

    async def ping(self) -> float:
        """Seconds that the store took to answer."""

    async def close(self) -> None:
        """Break off what is under way; no call may follow."""
