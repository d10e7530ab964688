"""A receiver that remembers what it was given, and can be told to refuse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from mail_service.mailbox.port import Arrival, Cursor, Mailbox

PATIENCE = 30.0
"""Seconds. Only ends what would hang for ever."""


class StorageAway(Exception):
    """What it raises while it refuses."""


class Desk:
    """Implements the port Receiver as the intake does: what is known by its bytes is taken once."""

    def __init__(self) -> None:
        self.cursors: dict[str, Cursor] = {}
        self.taken: list[Arrival] = []
        self.handed_over = 0
        """With those that came again."""
        self.refusing = False
        self.changed = asyncio.Condition()

    async def cursor(self, folder: str) -> Cursor | None:
        self._may_refuse()
        return self.cursors.get(folder)

    async def take(self, folder: str, arrival: Arrival) -> None:
        self._may_refuse()
        async with self.changed:
            self.handed_over += 1
            if arrival.content not in [one.content for one in self.taken]:
                self.taken.append(arrival)
            self.cursors[folder] = arrival.cursor
            self.changed.notify_all()

    async def pass_over(self, folder: str, cursor: Cursor) -> None:
        self._may_refuse()
        async with self.changed:
            self.cursors[folder] = cursor
            self.changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that only changes with what is handed over."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(reached), PATIENCE)

    async def has(self, count: int) -> None:
        """Wait for so many mails."""
        await self.until(lambda: len(self.taken) >= count)

    @property
    def subjects(self) -> list[str]:
        """In the order in which they came."""
        return [subject_of(arrival.content) for arrival in self.taken]

    def _may_refuse(self) -> None:
        if self.refusing:
            raise StorageAway


@contextlib.asynccontextmanager
async def watched(mailbox: Mailbox, desk: Desk) -> AsyncIterator[None]:
    """The mailbox hands over to the desk meanwhile."""
    watching = asyncio.create_task(mailbox.watch(desk))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})
        await mailbox.close()


def mail(subject: str, body: str = "Hello") -> bytes:
    """A mail with a Message-ID of its own."""
    lines = ("From: a@elsewhere.test", f"Subject: {subject}", f"Message-ID: <{subject}@elsewhere.test>", "")
    return "\r\n".join((*lines, body, "")).encode()


def subject_of(content: bytes) -> str:
    """As it stands in the head."""
    (line,) = [line for line in content.split(b"\r\n") if line.startswith(b"Subject: ")]
    return line.removeprefix(b"Subject: ").decode()
