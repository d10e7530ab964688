"""The reservations of this process: what keeps them alive while their requests last."""

from __future__ import annotations

import asyncio

from ai_core.access.limits.ledger import LEASE_SECONDS, Lease, Ledger
from ai_core.errors import StoreUnavailable

RENEW_SECONDS = LEASE_SECONDS / 3


class Leases:
    """The reservations of this process, renewed while they last."""

    def __init__(self, ledger: Ledger, renew_every: float = RENEW_SECONDS) -> None:
        """``renew_every``: seconds."""
        self._ledger = ledger
        self._renew_every = renew_every
        self._open: dict[str, dict[str, Lease]] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def of(self, key_id: str) -> list[Lease]:
        """The open ones of a key."""
        return list(self._open.get(key_id, {}).values())

    def open(self, lease: Lease) -> None:
        """Keep a lease alive from now on. Needs a running event loop."""
        self._open.setdefault(lease.key_id, {})[lease.id] = lease
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def settle(self, lease: Lease, tokens: int) -> None:
        """End a lease. What the ledger does not learn of, because it is away, lapses there by itself."""
        others = self._open[lease.key_id]
        del others[lease.id]
        if not others:
            del self._open[lease.key_id]
        # A renewal that is on its way would bring it back to life.
        await self._idle.wait()
        try:
            await self._ledger.settle(lease, tokens)
        except StoreUnavailable:
            return

    async def close(self) -> None:
        """End the renewals."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_every)
            leases = [lease for leases in self._open.values() for lease in leases.values()]
            if not leases:
                return
            self._idle.clear()
            try:
                await self._ledger.renew(leases)
            except StoreUnavailable:
                continue
            finally:
                self._idle.set()
