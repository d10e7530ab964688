"""One after the other: who may speak in a conversation now, in this process and in all replicas."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from ai_core.errors import SessionBusy, StoreUnavailable
from servicekit.key_value.port import KeyValueStore

LEASE_SECONDS = 15.0
"""How long a replica that died keeps others waiting."""
RENEW_SECONDS = 5.0
POLL_SECONDS = 0.2
MAX_WAITING = 16


class Leases:
    """Hands out one lease per name at a time, in the order in which this process asked; replicas agree
    through the store. All methods belong to one event loop."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}
        self._interested: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, name: str, patience: float) -> AsyncIterator[None]:
        """Hold the lease of a name for the length of the block.

        Args:
            patience: seconds to wait for it.

        Raises:
            SessionBusy: not in time, or too many wait already.
            StoreUnavailable: nobody knows who holds it.
        """
        with self._queue(name) as lock:
            token = secrets.token_bytes(16)
            try:
                async with asyncio.timeout(patience):
                    await lock.acquire()
                    try:
                        await self._take(name, token)
                    except BaseException:
                        lock.release()
                        raise
            except TimeoutError:
                raise _busy() from None
            renewing = asyncio.create_task(self._renew(name, token))
            try:
                yield
            finally:
                renewing.cancel()
                try:
                    await self._give_back(name, token)
                finally:
                    lock.release()

    @contextmanager
    def _queue(self, name: str) -> Iterator[asyncio.Lock]:
        interested = self._interested.get(name, 0)
        if interested > MAX_WAITING:
            raise _busy()
        self._interested[name] = interested + 1
        try:
            yield self._locks.setdefault(name, asyncio.Lock())
        finally:
            self._interested[name] -= 1
            if not self._interested[name]:
                del self._interested[name], self._locks[name]

    async def _take(self, name: str, token: bytes) -> None:
        # Who holds it may be another replica, which cannot wake this one.
        while not await self._store.swap(name, None, token, LEASE_SECONDS):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    async def _give_back(self, name: str, token: bytes) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._store.swap(name, token, None, LEASE_SECONDS)

    async def _renew(self, name: str, token: bytes) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self._store.swap(name, token, token, LEASE_SECONDS)


def _busy() -> SessionBusy:
    return SessionBusy(
        "Another request to this session is still being answered. Wait for its answer, then send this one "
        "again.",
        parameter="session_id",
        retry_after=1.0,
    )
