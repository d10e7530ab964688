"""The port over IMAP: one connection that watches a folder, and one that does what is to be done in it."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32

from mail_service.mailbox.answers import folder_for
from mail_service.mailbox.desk import Desk
from mail_service.mailbox.pauses import Pauses
from mail_service.mailbox.port import (
    Box,
    Cursor,
    Mark,
    Receiver,
    SignInRefused,
)
from mail_service.mailbox.walking import Walk
from mail_service.mailbox.wire import Connection, ImapServer
from servicekit.logging import get_logger

_FLAGS = {Box.SENT: "\\Seen", Box.DRAFTS: "\\Draft"}
_NAMES = {Box.SENT: "Sent", Box.DRAFTS: "Drafts"}

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds."""

    answer: float = 30.0
    """A server that says nothing for so long hangs."""
    idle: float = 270.0
    """After which IDLE is begun anew: well below the 29 minutes of RFC 2177, since many servers, and routers
    in between, drop a silent connection after five or ten. This is also when a silent one is noticed."""
    check: float = 30.0
    """Between two looks, where the server has no IDLE."""
    first_pause: float = 1.0
    longest_pause: float = 30.0
    """Between two tries to connect."""
    refused_pause: float = 300.0
    """After the server did not take our password: more tries may lock the account."""


class ImapMailbox:
    """Implements :class:`mail_service.mailbox.port.Mailbox`."""

    def __init__(
        self, server: ImapServer, folder: str = "INBOX", *, max_bytes: int, timing: Timing | None = None
    ) -> None:
        """``max_bytes``: of a mail that is fetched. ``folder`` as the server writes it."""
        self._server = server
        self._folder = folder
        self._max_bytes = max_bytes
        self._timing = timing or Timing()
        self._desk = Desk(server, self._timing.answer, self._timing.refused_pause)
        self._boxes: dict[Box, str] = {}
        self.watching = False

    @property
    def name(self) -> str:
        return f"{self._server.signing_in.user}@{self._server.host}/{self._folder}"

    async def watch(self, receiver: Receiver) -> None:
        pauses = Pauses(self._timing.first_pause, self._timing.longest_pause)
        walk = Walk(self.name, receiver, self._max_bytes)
        while True:
            pause = 0.0
            try:
                await self._follow(walk, pauses)
            except SignInRefused:
                pause = self._timing.refused_pause
                _log.error("mailbox refuses our password or token", seconds=pause)
            except Exception as error:  # noqa: BLE001 - whatever it was, mail must go on coming in
                pause = pauses.next()
                _log.warning("mailbox not watched", reason=type(error).__name__, seconds=round(pause, 1))
            finally:
                self.watching = False
            await asyncio.sleep(pause)

    async def _follow(self, walk: Walk, pauses: Pauses) -> None:
        # First, since it is of no use to ask the server while nothing can be stored.
        cursor = await walk.recall()
        connection = await Connection.open(self._server, self._timing.answer)
        try:
            selected = await connection.select(self._folder)
            walk.begin(cursor, selected.uid_validity)
            self.watching = True
            while True:
                connection.forget_news()
                await walk.go_on(connection)
                pauses.forget()
                if not connection.has_news:
                    await connection.news(self._timing.idle if connection.can_idle else self._timing.check)
        finally:
            connection.abort()

    async def fetch(self, cursor: Cursor) -> bytes | None:
        found: list[bytes | None] = []

        async def work(connection: Connection) -> None:
            selected = await connection.select(self._folder)
            if selected.uid_validity == cursor.uid_validity:
                found.append(await connection.content(cursor.uid, self._max_bytes + 1, self._max_bytes))

        await self._desk.do(work)
        content = found[-1] if found else None
        return content if content is not None and len(content) <= self._max_bytes else None

    async def mark(self, cursor: Cursor, mark: Mark) -> None:
        async def work(connection: Connection) -> None:
            # The server tells of a new UIDVALIDITY only when a folder is opened.
            selected = await connection.select(self._folder)
            if selected.uid_validity == cursor.uid_validity:
                await connection.mark([cursor.uid], mark)

        await self._desk.do(work)

    async def keep(self, box: Box, content: bytes, *, new: bool = False) -> None:
        message_id = None if new else _message_id(content)

        async def work(connection: Connection) -> None:
            nonlocal message_id
            folder = await self._box(connection, box)
            if message_id is not None:
                await connection.select(folder)
                if await connection.has(message_id):
                    return
            # Whatever comes of it, a second try has to look.
            message_id = _message_id(content)
            await connection.append(folder, _with_line_ends(content), _FLAGS[box])

        await self._desk.do(work)

    async def ping(self) -> float:
        began = time.perf_counter()
        await self._desk.do(Connection.noop)
        return time.perf_counter() - began

    async def close(self) -> None:
        await self._desk.close()

    async def _box(self, connection: Connection, box: Box) -> str:
        if box not in self._boxes:
            folder = folder_for(box, await connection.folders())
            if folder is None:
                folder = _NAMES[box]
                await connection.create(folder)
            self._boxes[box] = folder
        return self._boxes[box]


def _message_id(content: bytes) -> str | None:
    """None: it has none that a server could look for."""
    found = str(BytesHeaderParser(policy=compat32).parsebytes(content).get("Message-ID", "")).strip()
    return found if found and found.isascii() and found.isprintable() else None


def _with_line_ends(content: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", content)
