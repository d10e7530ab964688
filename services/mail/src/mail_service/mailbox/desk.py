"""The connection for what is to be done in an account while another one watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mail_service.mailbox.port import MailboxRefused, MailboxUnavailable
from mail_service.mailbox.wire import Connection, ImapServer

Work = Callable[[Connection], Awaitable[None]]


class Desk:
    """One piece of work at a time, over a connection that is made for the first and kept for the next."""

    def __init__(self, server: ImapServer, patience: float) -> None:
        """``patience``: seconds that an answer may take."""
        self._server = server
        self._patience = patience
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def do(self, work: Work) -> None:
        """``work`` may be begun twice. Raises MailboxError."""
        async with self._turn:
            kept = self._connection is not None
            try:
                await self._try(work)
            except MailboxUnavailable:
                if not kept:
                    raise
                # The server may have hung up while there was nothing to do.
                await self._try(work)

    async def close(self) -> None:
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _try(self, work: Work) -> None:
        connection = self._connection or await Connection.open(self._server, self._patience)
        self._connection = None
        try:
            await work(connection)
        except MailboxRefused:
            self._connection = connection
            raise
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
