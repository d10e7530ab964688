"""A store in Redis: shared by replicas, and it outlives them."""

from __future__ import annotations

from enum import IntEnum

from servicekit.key_value import scripts
from servicekit.key_value.redis_calls import Argument, RedisScripts
from servicekit.key_value.redis_connection import RedisConnection


class _Script(IntEnum):
    """The number of a script is its place in :data:`_SOURCES`."""

    GET = 0
    SET = 1
    DELETE = 2
    SWAP = 3
    INDEX_PUT = 4
    INDEX_REMOVE = 5
    INDEX_LIST = 6


_SOURCES = [
    scripts.GET,
    scripts.SET,
    scripts.DELETE,
    scripts.SWAP,
    scripts.INDEX_PUT,
    scripts.INDEX_REMOVE,
    scripts.INDEX_LIST,
]


class RedisStore:
    """Implements :class:`.port.KeyValueStore`. Whoever opened the connection closes it, after the store."""

    def __init__(self, connection: RedisConnection, *, prefix: str = "") -> None:
        """``prefix`` begins every key."""
        self._connection = connection
        self._prefix = prefix
        self._scripts = RedisScripts(connection, _SOURCES)

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._scripts.call(_Script.GET, self._key(key), [])
        return value

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        await self._scripts.call(_Script.SET, self._key(key), [value, _milliseconds(ttl)])

    async def swap(self, key: str, expected: bytes | None, value: bytes | None, ttl: float) -> bool:
        arguments = [*_optional(expected), *_optional(value), _milliseconds(ttl)]
        return bool(await self._scripts.call(_Script.SWAP, self._key(key), arguments))

    async def delete(self, key: str) -> bool:
        return bool(await self._scripts.call(_Script.DELETE, self._key(key), []))

    async def index_put(self, index: str, member: str, value: bytes, ttl: float) -> None:
        arguments: list[Argument] = [member, value, _milliseconds(ttl)]
        await self._scripts.call(_Script.INDEX_PUT, self._index(index), arguments)

    async def index_remove(self, index: str, member: str) -> None:
        await self._scripts.call(_Script.INDEX_REMOVE, self._index(index), [member])

    async def index_list(self, index: str, limit: int) -> list[tuple[str, bytes]]:
        members, values = await self._scripts.call(_Script.INDEX_LIST, self._index(index), [limit])
        pairs = zip(members, values, strict=True)
        return [(member.decode(), value) for member, value in pairs if value is not None]

    async def ping(self) -> float:
        return await self._connection.ping()

    async def close(self) -> None:
        await self._scripts.close()

    def _key(self, key: str) -> list[str]:
        return [self._prefix + key]

    def _index(self, index: str) -> list[str]:
        # In braces, so that a cluster keeps the two in one place.
        return [f"{self._prefix}{{{index}}}:{part}" for part in ("members", "values")]


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _optional(value: bytes | None) -> tuple[Argument, Argument]:
    return ("nothing", b"") if value is None else ("something", value)
