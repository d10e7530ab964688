"""The connection for what is to be done in an account while another one watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from mail_service.mailbox.port import MailboxRefused, MailboxUnavailable, SignInRefused
from mail_service.mailbox.wire import Connection, ImapServer
from mail_service.signing_in import Password

Work = Callable[[Connection], Awaitable[None]]


class Desk:
    """One piece of work at a time, over a connection that is made for the first and kept for the next."""

    def __init__(
        self,
        server: ImapServer,
        patience: float,
        refused_pause: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``patience``: seconds that an answer may take; ``refused_pause``: seconds after the server did not
        let us in, in which it is not asked again."""
        self._server = server
        self._patience = patience
        self._refused_pause = refused_pause
        self._clock = clock
        self._refused_until = 0.0
        self._refusals = 0
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
        connection = self._connection or await self._open()
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

    async def _open(self) -> Connection:
        if self._clock() < self._refused_until:
            raise SignInRefused("the server refused to let us in a moment ago")
        try:
            connection = await Connection.open(self._server, self._patience)
        except SignInRefused:
            self._refusals += 1
            # A token may have been an old one, and the next is fresh; a password stays what it is. Health is
            # asked for every few seconds, and so many wrong ones lock an account.
            if self._refusals > 1 or isinstance(self._server.signing_in, Password):
                self._refused_until = self._clock() + self._refused_pause
            raise
        self._refusals = 0
        return connection
