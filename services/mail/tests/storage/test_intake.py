"""Mails of which nothing can be read are told apart by where they lie."""

from __future__ import annotations

from mail_service.intake import Archive, Intake
from mail_service.mailbox.port import Arrival, Cursor, Unread
from mail_service.storage.cursors import Cursors
from mail_store import Store
from servicekit.journal.wakeups import LocalWakeups

FOLDER = "INBOX"


async def test_two_mails_of_which_nothing_can_be_read_are_both_seen(store: Store) -> None:
    archive = Archive(
        store.database,
        store.journal,
        store.envelopes,
        store.letters,
        Cursors(store.database),
        store.ways,
        store.names,
    )
    intake = Intake(archive, LocalWakeups(), {FOLDER: "neo@example.test"}, lambda _: False)
    # The second comes twice: the process ended before the folder heard of it.
    for uid in (1, 2, 2):
        await intake.take(FOLDER, Arrival(Cursor(7, uid), 0, store.clock.now, b"", Unread.UNREADABLE))
    assert len(await store.ways.queue()) == 2
    assert await intake.cursor(FOLDER) == Cursor(7, 2)
