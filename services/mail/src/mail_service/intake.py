"""Takes mails in: stored once, in the lane of their thread, together with how far the folder was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mail_service.answering.envelopes import CameIn, Envelopes
from mail_service.aside import aside
from mail_service.filing import written
from mail_service.letters import Letter
from mail_service.mailbox.port import Arrival, Cursor, Unread
from mail_service.reading import read
from mail_service.storage.correspondence import Correspondence
from mail_service.storage.cursors import Cursors
from mail_service.storage.names import Names
from mail_service.storage.ways import Step, Ways
from mail_service.threads import anchors, root_of, thread_of
from servicekit.journal.journal import LONG_AGO, Journal
from servicekit.journal.wakeups import Wakeups
from servicekit.storage.database import Database


@dataclass(frozen=True, slots=True)
class Archive:
    """Where mails are kept."""

    database: Database
    journal: Journal
    envelopes: Envelopes
    correspondence: Correspondence
    cursors: Cursors
    ways: Ways
    names: Names


class Intake:
    """Implements :class:`mail_service.mailbox.port.Receiver` for the folders of one service.

    Args:
        accounts: the account's address of each folder.
        is_urgent: whether a mail goes before others.
    """

    def __init__(
        self,
        archive: Archive,
        wakeups: Wakeups,
        accounts: Mapping[str, str],
        is_urgent: Callable[[Letter], bool],
    ) -> None:
        self._archive = archive
        self._wakeups = wakeups
        self._accounts = accounts
        self._is_urgent = is_urgent

    async def cursor(self, folder: str) -> Cursor | None:
        """How far a folder has been read. Raises StorageUnavailable."""
        return await self._archive.cursors.get(folder)

    async def pass_over(self, folder: str, cursor: Cursor) -> None:
        """Store the cursor alone. Raises StorageUnavailable."""
        async with self._archive.database.writing() as connection:
            await self._archive.cursors.advance(connection, folder, cursor)

    async def take(self, folder: str, arrival: Arrival) -> None:
        """Once this returns, the mail is ours to answer. Raises StorageUnavailable."""
        archive, account = self._archive, self._accounts[folder]
        letter = await aside(len(arrival.content), read, arrival.content)
        sender = letter.sender.address if letter.sender is not None else ""
        known = await archive.correspondence.known(anchors(letter))
        thread = thread_of(letter, known, archive.names.person(sender))
        thread = thread or archive.names.thread(account, sender, root_of(letter))
        came = CameIn(
            account=account,
            folder=folder,
            uid_validity=arrival.cursor.uid_validity,
            uid=arrival.cursor.uid,
            arrived_at=arrival.arrived_at,
            thread=thread,
            raw=arrival.content,
            size=arrival.size,
            unread=arrival.unread.value if arrival.unread is not None else "",
        )
        payload = await aside(len(arrival.content), archive.envelopes.close_incoming, came)
        due_at = LONG_AGO if self._is_urgent(letter) else None
        async with archive.database.writing() as connection:
            key = archive.names.entry(letter.message_id, letter.digest + place_of(folder, arrival))
            entry_id = await archive.journal.store(connection, key, thread, payload, due_at=due_at)
            if entry_id is not None:
                await archive.correspondence.came_in(connection, entry_id, thread, written(letter))
                await archive.ways.add_within(connection, entry_id, Step.RECEIVED)
            await archive.cursors.advance(connection, folder, arrival.cursor)
        self._wakeups.ring()


def place_of(folder: str, arrival: Arrival) -> str:
    """What tells a mail that could not be read from others of which no more is known either; else empty."""
    if arrival.unread is not Unread.UNREADABLE:
        return ""
    return f" {folder} {arrival.cursor.uid_validity} {arrival.cursor.uid}"
