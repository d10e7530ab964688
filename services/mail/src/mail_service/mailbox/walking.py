"""Walks through a folder from where it was left, and hands over each mail once."""

from __future__ import annotations

from collections.abc import Sequence

from mail_service.mailbox.answers import Listed
from mail_service.mailbox.fetching import Fetching
from mail_service.mailbox.port import (
    Cursor,
    MailboxError,
    MailboxRefused,
    Mark,
    Receiver,
)
from mail_service.mailbox.wire import Connection
from servicekit.logging import get_logger

PAGE = 50
"""Mails that are listed with one command: aioimaplib takes a Python frame for each line of an answer."""
LISTINGS = 3
"""For one page, before its mails are listed one by one."""

_log = get_logger(__name__)


class Walk:
    """Of one folder; it outlives connections."""

    def __init__(self, name: str, receiver: Receiver, max_bytes: int) -> None:
        """``max_bytes``: of a mail that is fetched."""
        self._name = name
        self._receiver = receiver
        self._fetching = Fetching(max_bytes)
        self._position = Cursor(0, 0)
        self._unmarked: list[int] = []
        """UIDs of what is stored, on the way to being marked."""
        self._listings: tuple[int, int] = (0, 0)
        """A page's last UID, and how often it could not be listed."""
        self._unlisted: set[int] = set()
        """UIDs of that page with which listing ended."""

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
        listed = await self._told(connection, uids)
        missing = set(uids) - {mail.uid for mail in listed}
        # One that is gone is passed over; one of which the server would not speak is not.
        there = await connection.existing(sorted(missing)) if missing else []
        listed += [Listed(uid, 0, None, taken=False) for uid in there]
        return sorted(listed, key=lambda mail: mail.uid)

    async def _told(self, connection: Connection, uids: Sequence[int]) -> list[Listed]:
        """What the server says of a page; one of which it cannot speak is fetched as it is."""
        failures = self._listings[1] if self._listings[0] == uids[-1] else 0
        if failures < LISTINGS:
            try:
                return await connection.listed(uids)
            except MailboxError:
                self._listings, self._unlisted = (uids[-1], failures + 1), set()
                raise
        found = [Listed(uid, 0, None, taken=False) for uid in uids if uid in self._unlisted]
        for uid in uids:
            if uid in self._unlisted:
                continue
            try:
                found += await connection.listed([uid])
            except MailboxRefused:
                found.append(Listed(uid, 0, None, taken=False))
            except MailboxError:
                self._unlisted.add(uid)
                raise
        return found

    async def _hand_over(self, connection: Connection, mail: Listed) -> None:
        arrival = await self._fetching.arrival(connection, mail, self._position)
        if arrival is not None:
            await self._receiver.take(self._name, arrival)
            self._position = arrival.cursor
            self._unmarked.append(mail.uid)

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
