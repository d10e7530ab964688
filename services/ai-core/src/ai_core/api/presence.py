"""Work for a client goes on only as long as the client is there and reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.types import Receive

CHECK_SECONDS = 15.0


class ClientLeft(Exception):
    """Nobody is there to take the answer."""


class Outlet(Protocol):
    """Where the answer goes, as far as watching over it needs."""

    @property
    def complete(self) -> bool:
        """Everything has been handed over; what happens to the connection is not our concern any more."""

    def stalled(self) -> bool:
        """The client has not read for so long that it never will."""

    async def keep_alive(self) -> None:
        """Show proxies in between that this connection is in use."""


@asynccontextmanager
async def while_client_stays(receive: Receive, outlet: Outlet) -> AsyncIterator[None]:
    """Cancels its block as soon as the client disconnects or stops reading.

    To be entered when the request's body has been read: what ``receive`` tells afterwards is
    whether the client is still there.

    Raises:
        ClientLeft: the block was cancelled for this.
    """
    # A time-out without a time: it cancels its block, and only that, when told to.
    presence = asyncio.timeout(None)
    try:
        async with presence:
            watcher = asyncio.create_task(_watch(receive, outlet, presence))
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        if not presence.expired():
            raise
        raise ClientLeft from None


async def _watch(receive: Receive, outlet: Outlet, presence: asyncio.Timeout) -> None:
    while True:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                message = await receive()
        except TimeoutError:
            if outlet.stalled():
                break
            await outlet.keep_alive()
        else:
            if message["type"] == "http.disconnect":
                break
    if not outlet.complete:
        presence.reschedule(asyncio.get_running_loop().time())
