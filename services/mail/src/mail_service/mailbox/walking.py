"""Walks through a folder from where it was left, and hands over each mail once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mail_service.mailbox.answers import Listed
from mail_service.mailbox.port import (
    Arrival,
    Cursor,
    MailboxError,
    MailboxRefused,
    MailboxUnavailable,
    Mark,
    Receiver,
    Unread,
)
from mail_service.mailbox.wire import HEAD_BYTES, Connection
from servicekit.logging import get_logger

PAGE = 50
"""Mails that are listed with one command: aioimaplib takes a Python frame for each line of an answer."""
TRIES = 8
"""For one mail, over as many connections, before it counts as one that the server cannot hand over."""

_log = get_logger(__name__)


class Walk:
    """Of one folder; it outlives connections."""

    def __init__(self, name: str, receiver: Receiver, max_bytes: int) -> None:
        """``max_bytes``: of a mail that is fetched."""
        self._name = name
        self._receiver = receiver
        self._max_bytes = max_bytes
        self._position = Cursor(0, 0)
        self._unmarked: list[int] = []
        """UIDs of what is stored, on the way to being marked."""
        self._failed: tuple[Cursor, int] = (self._position, 0)

    async def recall(self) -> Cursor | None:
        """How far the folder has been read, as the receiver knows it. Raises what it raises."""
        return await self._receiver.cursor(self._name)

    def begin(self, cursor: Cursor | None, uid_validity: int) -> None:
        """Start after ``cursor``; at the first mail, if it says nothing about the folder as it is now."""
        if cursor is not None and cursor.uid_validity != uid_validity:
            _log.warning("the server has numbered all mails anew: the folder is walked through again")
        if self._position.uid_validity != uid_validity:
            self._unmarked = []
        current = cursor is not None and cursor.uid_validity == uid_validity
        self._position = cursor if cursor is not None and current else Cursor(uid_validity, 0)

    async def go_on(self, connection: Connection) -> None:
        """Hand over all that came since. Raises MailboxError, and what the receiver raises."""
        # What an earlier connection left.
        await self._mark(connection)
        uids = await connection.uids_after(self._position.uid)
        for start in range(0, len(uids), PAGE):
            await self._page(connection, uids[start : start + PAGE])

    async def _page(self, connection: Connection, uids: Sequence[int]) -> None:
        try:
            for mail in await self._listed(connection, uids):
                # With our mark it has been stored, by another process or under another UIDVALIDITY.
                if not mail.taken:
                    await self._hand_over(connection, mail)
        except MailboxError:
            raise
        except Exception:
            # It is the receiver that cannot go on.
            await self._mark(connection)
            raise
        await self._mark(connection)
        last = self._at(uids[-1])
        if self._position < last:
            await self._receiver.pass_over(self._name, last)
            self._position = last

    async def _listed(self, connection: Connection, uids: Sequence[int]) -> Sequence[Listed]:
        listed = await connection.listed(uids)
        missing = set(uids) - {mail.uid for mail in listed}
        # One that is gone is passed over; one of which the server would not speak is not.
        there = await connection.existing(sorted(missing)) if missing else []
        listed += [Listed(uid, 0, None, taken=False) for uid in there]
        return sorted(listed, key=lambda mail: mail.uid)

    async def _hand_over(self, connection: Connection, mail: Listed) -> None:
        arrival = await self._arrival(connection, mail)
        if arrival is not None:
            await self._receiver.take(self._name, arrival)
            self._position = arrival.cursor
            self._unmarked.append(mail.uid)

    async def _arrival(self, connection: Connection, mail: Listed) -> Arrival | None:
        """None: it is gone."""
        cursor = self._at(mail.uid)
        unread: Unread | None = None
        tries = self._failed[1] if self._failed[0] == cursor else 0
        try:
            if mail.size > self._max_bytes:
                unread = Unread.TOO_LARGE
            elif tries >= TRIES:
                unread = Unread.UNREADABLE
            if unread is None:
                content = await connection.content(mail.uid, self._max_bytes + 1, mail.size)
            else:
                # And of one that breaks every connection, even the head is not asked for in the end.
                content = await connection.head(mail.uid) if tries <= TRIES else b""
            if content is None:
                if not await connection.existing([mail.uid]):
                    return None
                raise MailboxUnavailable("the server does not hand over a mail")
        except MailboxError:
            self._failed = (cursor, tries + 1)
            raise
        if len(content) > self._max_bytes:
            # Some servers only guess the size before.
            content, unread = _head(content), Unread.TOO_LARGE
        arrived_at = mail.arrived_at or datetime.now(UTC)
        return Arrival(cursor, max(mail.size, len(content)), arrived_at, content, unread)

    async def _mark(self, connection: Connection) -> None:
        """What is stored; if the connection breaks, it is left for the next."""
        if not self._unmarked:
            return
        try:
            await connection.mark(self._unmarked, Mark.TAKEN)
        except MailboxRefused:
            # A folder that only lets itself be read. The cursor says the same.
            _log.warning("mails cannot be marked")
        self._unmarked = []

    def _at(self, uid: int) -> Cursor:
        return Cursor(self._position.uid_validity, uid)


def _head(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n", 0, HEAD_BYTES)
    return content[: end + 4] if end >= 0 else content[:HEAD_BYTES]
