"""Fetches mails, and tells one that the server cannot hand over from a server that hands over nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mail_service.mailbox.answers import Listed
from mail_service.mailbox.port import Arrival, Cursor, MailboxError, MailboxUnavailable, Unread
from mail_service.mailbox.wire import HEAD_BYTES, Connection

TRIES = 8
"""For one mail, over as many connections, before others are asked for: is it this mail, or the server?"""
LONGEST_SECONDS = 6 * 3_600.0
"""For one mail, where no other can be had either: what lies behind it must not wait for ever."""
OTHERS = 10


@dataclass(frozen=True, slots=True)
class _Trouble:
    """With the mail that comes next."""

    cursor: Cursor
    since: float
    tries: int = 0
    hopeless: bool = False
    """Another mail came just before this one did not, or it has lasted too long: its head is asked for."""
    headless: bool = False
    """Nor can that be had."""


class Fetching:
    """From one folder; it outlives connections."""

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``max_bytes``: of a mail that is fetched."""
        self._max_bytes = max_bytes
        self._clock = clock
        self._last: _Trouble | None = None

    async def arrival(self, connection: Connection, mail: Listed, before: Cursor) -> Arrival | None:
        """A mail, or only its head; None: it is gone.

        Args:
            before: where the mail lies that was handed over last.

        Raises:
            MailboxError: it is to be tried again.
        """
        cursor = Cursor(before.uid_validity, mail.uid)
        trouble = self._last
        if trouble is None or trouble.cursor != cursor:
            trouble = _Trouble(cursor, self._clock())
        blamed = False
        try:
            if trouble.tries >= TRIES and not trouble.hopeless:
                blamed = await self._others_come(connection, mail.uid, before.uid)
            content = await self._content(connection, mail, trouble)
        except MailboxError:
            self._last = self._after(trouble, blamed=blamed)
            raise
        if content is None:
            return None
        unread = Unread.TOO_LARGE if mail.size > self._max_bytes else None
        if unread is None and trouble.hopeless:
            unread = Unread.UNREADABLE
        if len(content) > self._max_bytes:
            # Some servers only guess the size before.
            content, unread = _head(content), Unread.TOO_LARGE
        arrived_at = mail.arrived_at or datetime.now(UTC)
        return Arrival(cursor, max(mail.size, len(content)), arrived_at, content, unread)

    async def _content(self, connection: Connection, mail: Listed, trouble: _Trouble) -> bytes | None:
        if trouble.headless:
            return b""
        if trouble.hopeless or mail.size > self._max_bytes:
            content = await connection.head(mail.uid)
        else:
            size = mail.size or self._max_bytes
            content = await connection.content(mail.uid, self._max_bytes + 1, size)
        if content is None and await connection.existing([mail.uid]):
            raise MailboxUnavailable("the server does not hand over a mail")
        return content

    async def _others_come(self, connection: Connection, uid: int, before: int) -> bool:
        """Whether the server hands over any other mail just now. Raises MailboxError."""
        others = [*(await connection.uids_after(uid))[:OTHERS], *([before] if before else [])]
        for other in others:
            if await connection.content(other, HEAD_BYTES, HEAD_BYTES) is not None:
                return True
        return False

    def _after(self, trouble: _Trouble, *, blamed: bool) -> _Trouble:
        if trouble.hopeless:
            return replace(trouble, tries=trouble.tries + 1, headless=trouble.tries + 1 >= TRIES)
        if blamed or self._clock() - trouble.since > LONGEST_SECONDS:
            return replace(trouble, tries=0, hopeless=True)
        return replace(trouble, tries=trouble.tries + 1)


def _head(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n", 0, HEAD_BYTES)
    return content[: end + 4] if end >= 0 else content[:HEAD_BYTES]
