"""What is kept of somebody goes as a whole, whatever happens while it is deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mail_service import lanes
from mail_service.answering.envelopes import CameIn, Notice
from mail_service.composing.words import Phrase
from mail_service.language import Language
from mail_service.storage.allowances import Allowances, HourlyLimits
from mail_service.storage.tables import metadata
from mail_store import ANNE, BOB, Store, written
from servicekit.journal.lane import LaneLost


class Killed(Exception):
    """As if the process were gone."""


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """The statement of this number is not made any more."""
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made == number:
            raise Killed

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


async def told(store: Store) -> None:
    """Anne wrote in two threads and was told something in each; Bob wrote as well."""
    for thread in ("first", "last"):
        number = await store.letter(f"<{thread}@x>", thread=thread)
        await store.answered(number, written(f"<a-{thread}@us>", ANNE, "an answer"))
        await store.journal.receive(f"notice of {thread}", lanes.notices(thread), b"")
    await store.letter("<bob@x>", BOB, thread="of Bob")


async def left(store: Store) -> set[str]:
    """The lanes in which something stands."""
    entries = metadata.tables["entries"]
    async with store.database.reading() as connection:
        return set((await connection.execute(entries.select().with_only_columns(entries.c.lane))).scalars())


async def test_an_order_to_forget_that_is_cut_off_anywhere_can_be_carried_out_again(store: Store) -> None:
    await told(store)
    before, number = await left(store), 1
    while True:
        try:
            with killed_at(number):
                assert await store.keeper.forget(ANNE) == 4
        except Killed:
            now = await left(store)
            if now != before:
                # All is gone, and only the log of changes was not emptied yet.
                break
            # Whichever lane holds the order: it is still there, and so is what it needs.
            assert await store.letters.threads_of(store.names.person(ANNE)) == ["first", "last"]
            number += 1
        else:
            break
    assert number > 5
    assert await left(store) == {"of Bob"}
    assert await store.letters.of_person(store.names.person(ANNE)) == []
    assert len(await store.letters.of_person(store.names.person(BOB))) == 1


async def test_whoever_works_for_somebody_who_is_forgotten_stops(store: Store) -> None:
    await told(store)
    held = await store.journal.claim()
    assert held is not None
    await store.keeper.forget(ANNE)
    with pytest.raises(LaneLost):
        await held.renew()


async def test_who_wrote_in_very_many_threads_is_forgotten_in_all(store: Store) -> None:
    for number in range(450):
        await store.letter(f"<{number}@x>", thread=f"t{number}")
    assert await store.keeper.forget(ANNE) == 450
    assert await left(store) == set()


async def test_looking_at_the_queue_reads_no_mail(store: Store) -> None:
    number, asked = await store.letter("<1@x>"), []

    def look(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        (waiting,) = await store.ways.queue()
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert (waiting.entry_id, waiting.state, waiting.attempts) == (number, "open", 0)
    assert not any("payload" in statement for statement in asked)


RAW = b"""From: Anne <anne@example.org>\r
Subject: Two files\r
Message-ID: <1@x>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
My question.\r
\r
On Monday, Neo wrote:\r
> An earlier answer.\r
--b\r
Content-Type: application/pdf\r
Content-Disposition: attachment; filename=contract.pdf\r
\r
%PDF\r
--b--\r
"""


async def test_an_export_holds_quoted_text_files_notices_and_counters(store: Store) -> None:
    came = CameIn("neo@example.test", "INBOX", 1, 1, store.clock.now, "t", RAW, len(RAW))
    number = await store.letter("<1@x>", payload=store.envelopes.close_incoming(came))
    notice = Notice(
        "neo@example.test", Phrase.WAITS, Language.ENGLISH, ANNE, "Anne", "Two files", "<1@x>", ()
    )
    await store.journal.receive("notice", lanes.notices("t"), store.envelopes.close_incoming(notice))
    await store.allowances.ask(number, store.names.person(ANNE), shared=False)
    exported = json.loads(await store.keeper.export(ANNE))
    (mail,) = exported["mails"]
    assert "An earlier answer." in mail["quoted"]
    assert [file["name"] for file in mail["files"]] == ["contract.pdf"]
    assert [(one["address"], one["subject"]) for one in exported["notices"]] == [(ANNE, "Two files")]
    assert exported["counted_for_limits"] == [store.clock.now.isoformat()]


async def test_an_address_is_known_however_its_domain_is_written(store: Store) -> None:
    await store.letter("<1@x>", "anne@xn--bcher-kva.example")
    for written_so in ("Anne@Bücher.example", " anne@bücher.EXAMPLE. "):
        assert len(json.loads(await store.keeper.export(written_so))["mails"]) == 1
    assert await store.keeper.forget("anne@bücher.example") == 1


async def given_up(store: Store, message_id: str, address: str = ANNE, thread: str = "t") -> int:
    """A mail, counted for the limits, of which nothing came; its sender was told."""
    number = await store.letter(message_id, address, "of " + address, thread=thread)
    assert await store.allowances.ask(number, store.names.person(address), shared=False) is None
    held = await store.journal.hold(thread)
    assert held is not None
    (entry,) = await held.pending()
    await held.bury(entry, "no way")
    await held.release()
    return number


async def test_a_mail_that_comes_after_one_that_was_dropped_is_taken_in_and_is_its_own(store: Store) -> None:
    dropped = await given_up(store, "<1@x>")
    await store.journal.receive("notice", lanes.notices("t"), store.envelopes.close_incoming(told_of(ANNE)))
    # Two in a row, so that the number of the first is given again twice.
    assert await store.keeper.drop(await given_up(store, "<2@x>", thread="u"))
    assert await store.keeper.drop(dropped)
    assert not await store.keeper.drop(dropped)
    await store.ledger.forget(lanes.notices("t"))
    following = await given_up(store, "<3@x>", BOB, thread="v")
    assert [one.written.text for one in await store.letters.of_entry(following)] == ["of " + BOB]
    assert await store.keeper.drop(following)
    last = await store.letter("<4@x>", BOB, thread="w")
    # Those who were counted still are, and nobody is allowed anything because of another's mail.
    limits = HourlyLimits(of_all=3, of_person=100, of_shared=100)
    allowances = Allowances(store.database, limits, store.clock)
    assert await allowances.ask(last, store.names.person(BOB), shared=False) is not None
    assert len(await store.allowances.of_person(store.names.person(ANNE))) == 2
    texts = [mail["text"] for mail in json.loads(await store.keeper.export(ANNE))["mails"]]
    assert texts == ["of " + ANNE] * 2
    assert await store.keeper.forget(ANNE) == 2


async def test_what_somebody_was_told_is_found_once_their_mail_was_dropped(store: Store) -> None:
    number = await given_up(store, "<1@x>")
    await store.journal.receive("notice", lanes.notices("t"), store.envelopes.close_incoming(told_of(ANNE)))
    assert await store.keeper.drop(number)
    assert [one["address"] for one in json.loads(await store.keeper.export(ANNE))["notices"]] == [ANNE]
    assert await store.keeper.forget(ANNE) == 1
    assert await store.ledger.history(["t", lanes.notices("t")]) == []


async def test_a_mail_is_taken_in_where_something_is_left_of_another_one(store: Store) -> None:
    """As versions left it that dropped the entry alone."""
    number = await given_up(store, "<1@x>")
    assert await store.ledger.drop(number)
    async with store.database.writing() as connection:
        await store.letters.came_in(connection, number, "t", written("<2@x>", BOB, "after it"))
    assert [one.written.text for one in await store.letters.of_entry(number)] == ["after it"]
    assert await store.keeper.forget(ANNE) == 1


def told_of(address: str) -> Notice:
    return Notice("neo@example.test", Phrase.APOLOGY, Language.FRENCH, address, "", "", "<1@x>", ())


def held_in(folder: Path) -> bytes:
    """All that its files hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_no_file_holds_what_was_forgotten(store: Store, tmp_path: Path) -> None:
    for number in range(50):
        await store.letter(f"<{number}@x>", thread="first", payload=b"the words of Anne" * 40)
    await store.keeper.forget(ANNE)
    assert b"the words of Anne" not in held_in(tmp_path)


async def test_a_letter_is_kept_as_long_as_its_mail(store: Store) -> None:
    number = await store.letter("<1@x>")
    store.clock.now += timedelta(days=40)
    held = await store.journal.claim()
    assert held is not None
    entry = await held.due()
    assert entry is not None
    await held.finish(entry)
    # Closed only now: the mail itself is still here, and is to be found.
    await store.keeper.clean(store.clock.now - timedelta(days=30))
    assert len(await store.letters.of_entry(number)) == 1
    assert await store.keeper.forget(ANNE) == 1
    assert await left(store) == set()
