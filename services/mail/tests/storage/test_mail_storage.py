"""Letters, ways, allowances and cursors, in both databases."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from mail_service.keeping import Cleaned
from mail_service.mailbox.port import Cursor
from mail_service.storage.allowances import Allowances, HourlyLimits
from mail_service.storage.correspondence import Before
from mail_service.storage.cursors import Cursors
from mail_service.storage.migrations import SCHEMA
from mail_service.storage.names import Names, load_names
from mail_service.storage.switches import Switches
from mail_service.storage.tables import journal as journal_tables
from mail_service.storage.tables import metadata
from mail_service.storage.ways import Step
from mail_store import ANNE, BOB, Store, written
from servicekit.journal.ledger import Ledger
from servicekit.storage.migrating import upgrade
from servicekit.storage.sealing import Unreadable, seal_for


async def test_the_migrations_make_the_tables(store: Store) -> None:
    async with store.database.reading() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert {*metadata.tables, "alembic_version"} == set(names)

        def differences(sync: object) -> object:
            return compare_metadata(MigrationContext.configure(sync), metadata)  # type: ignore[arg-type]

        assert await connection.run_sync(differences) == []
    assert await upgrade(store.database, SCHEMA) is None


async def test_a_thread_shows_what_was_answered_and_nothing_else(store: Store) -> None:
    first = await store.letter("<1@x>", text="one")
    await store.letter("<spam@x>", text="buy")
    await store.answered(first, written("<a1@us>", ANNE, "answer one"))
    await store.answered(first, written("<a1@us>", ANNE, "answer one, again"))
    third = await store.letter("<3@x>", text="three")
    assert await store.shown(third) == ["one", "answer one, again"]
    assert await store.shown(first) == []


async def test_nobody_is_shown_what_others_wrote(store: Store) -> None:
    first = await store.letter("<1@x>", text="of Anne")
    await store.answered(first, written("<a1@us>", ANNE, "to Anne"))
    second = await store.letter("<2@x>", BOB)
    assert await store.shown(second, BOB) == []
    known = await store.letters.known(["<1@x>", "<a1@us>", "<nothing@x>"])
    assert {one: whose.thread for one, whose in known.items()} == {"<1@x>": "t", "<a1@us>": "t"}
    assert all(whose.persons == {store.names.person(ANNE)} for whose in known.values())


async def test_what_somebody_wrote_lately_is_found_in_all_threads(store: Store) -> None:
    first = await store.letter("<1@x>", text="one")
    await store.answered(first, written("<a@us>", ANNE, "answer"))
    store.clock.now += timedelta(hours=2)
    await store.letter("<2@x>", text="two", thread="u")
    await store.letter("<3@x>", BOB, thread="v")
    last = await store.letter("<4@x>", text="three")
    person, now = store.names.person(ANNE), store.clock.now

    async def lately(since: datetime) -> list[str]:
        return [one.written.text for one in await store.letters.lately(person, since, last, 9)]

    assert await lately(now - timedelta(hours=3)) == ["two", "answer", "one"]
    assert await lately(now - timedelta(hours=1)) == ["two"]


def test_our_own_message_ids_are_known_by_themselves() -> None:
    names = Names(b"key")
    ours = names.answer("entry", "example.org")
    assert ours == names.answer("entry", "example.org") != names.answer("other", "example.org")
    assert names.is_ours(ours)
    for foreign in ("<a@x>", "<a.b@x>", "", ours.replace(".", "x", 1), Names(b"other").answer("e", "x")):
        assert not names.is_ours(foreign)


async def test_the_same_mail_to_two_of_our_addresses_is_known(store: Store) -> None:
    person = store.names.person(ANNE)
    first = await store.letter("<1@x>")
    async with store.database.writing() as connection:
        second = await store.journal.store(connection, "another copy", "t", b"")
        assert second is not None
        await store.letters.came_in(connection, second, "t", written("<1@x>", ANNE, "?"))
    assert await store.letters.came_before(second, "<1@x>", person) is Before.PENDING
    assert await store.letters.came_before(first, "<1@x>", person) is None
    assert await store.letters.came_before(second, "<1@x>", store.names.person(BOB)) is None
    await store.answered(first, written("<a@us>", ANNE, "answer"))
    assert await store.letters.came_before(second, "<1@x>", person) is Before.ANSWERED


async def test_a_copy_that_was_not_answered_keeps_nobody_from_an_answer(store: Store) -> None:
    """A forger's, say, which was ignored."""
    await _closed(store, "<1@x>")
    async with store.database.writing() as connection:
        second = await store.journal.store(connection, "the real one", "t", b"")
        assert second is not None
        await store.letters.came_in(connection, second, "t", written("<1@x>", ANNE, "?"))
    assert await store.letters.came_before(second, "<1@x>", store.names.person(ANNE)) is None


async def test_an_apology_is_kept_for_the_sender_and_not_shown_to_the_model(store: Store) -> None:
    number, person = await store.letter("<1@x>", text="one"), store.names.person(ANNE)

    async def texts() -> list[str]:
        return [one.written.text for one in await store.letters.of_person(person)]

    async with store.database.writing() as connection:
        await store.letters.apologised(connection, number, written("<a@us>", ANNE, "sorry"))
    assert await texts() == ["one", "sorry"]
    assert await store.shown(number + 1) == []
    await store.answered(number, written("<a@us>", ANNE, "answer"))
    # The operator was faster, or somebody has forgotten it.
    for entry_id in (number, number + 9):
        async with store.database.writing() as connection:
            await store.letters.apologised(connection, entry_id, written("<a@us>", ANNE, "sorry"))
    assert await texts() == ["one", "answer"]


async def test_addresses_and_texts_are_not_to_be_read_in_the_database(store: Store) -> None:
    await store.letter("<very-private@x>", text="mon salaire")
    async with store.database.reading() as connection:
        for table in metadata.tables.values():
            for row in await connection.execute(table.select()):
                everything = repr(tuple(row))
                if table.name != "entries":  # the test's own key
                    assert not any(word in everything for word in ("salaire", "anne", "private"))


async def test_what_is_kept_of_somebody_is_theirs_to_have_and_to_delete(store: Store) -> None:
    first = await store.letter("<1@x>", text="mine")
    await store.answered(first, written("<a@us>", ANNE, "answer"))
    await store.letter("<2@x>", BOB, "of Bob", thread="u")
    person = store.names.person(ANNE)
    assert [one.written.text for one in await store.letters.of_person(person)] == ["mine", "answer"]
    assert await store.letters.threads_of(person) == ["t"]
    async with store.database.writing() as connection:
        assert await store.letters.forget(connection, person, ["u"]) == 0
        assert await store.letters.forget(connection, person, ["t"]) == 2
    assert await store.letters.of_person(person) == []
    assert len(await store.letters.of_person(store.names.person(BOB))) == 1
    # An answer that was on its way when its mail was forgotten is not remembered either.
    await store.answered(first, written("<a@us>", ANNE, "answer"))
    assert await store.letters.of_person(person) == []


async def test_old_letters_are_deleted(store: Store) -> None:
    held = await _closed(store, "<1@x>")
    await store.letter("<waiting@x>", thread="other")
    store.clock.now += timedelta(days=40)
    await store.letter("<2@x>")
    assert await store.keeper.clean(store.clock.now - timedelta(days=30)) == Cleaned(letters=1, entries=1)
    assert await store.letters.of_entry(held) == []


async def _closed(store: Store, message_id: str) -> int:
    number = await store.letter(message_id)
    held = await store.journal.claim()
    assert held is not None
    entry = await held.due()
    assert entry is not None
    await held.finish(entry)
    await held.release()
    return number


async def test_the_way_of_a_mail_goes_with_it(store: Store) -> None:
    number = await store.letter("<1@x>")
    await store.ways.add(number, Step.DECIDED, "answer", [("size", "fine"), ("spam", "0.1")])
    await store.ways.add(number, Step.SENT)
    way = await store.ways.of(number)
    assert [(passed.step, passed.reason) for passed in way] == [(Step.DECIDED, "answer"), (Step.SENT, "")]
    assert way[0].rules == (("size", "fine"), ("spam", "0.1"))
    assert await store.ways.counts(store.clock.now) == {("decided", "answer"): 1, ("sent", ""): 1}
    assert [waiting.entry_id for waiting in await store.ways.queue()] == [number]
    await Ledger(store.database, journal_tables).forget("t")
    assert await store.ways.of(number) == []
    await store.ways.add(number, Step.SENT)
    assert await store.ways.of(number) == []


async def test_who_writes_more_than_the_limit_waits_for_the_oldest_to_be_an_hour_old(store: Store) -> None:
    limits = HourlyLimits(of_all=100, of_person=2, of_shared=100)
    allowances = Allowances(store.database, limits, store.clock)
    begin = store.clock.now
    for number in (1, 2):
        assert await allowances.ask(number, "anne", shared=False) is None
        store.clock.now += timedelta(minutes=10)
    assert await allowances.ask(3, "anne", shared=False) == begin + timedelta(hours=1)
    assert await allowances.ask(1, "anne", shared=False) is None
    assert await allowances.ask(4, "bob", shared=False) is None
    store.clock.now = begin + timedelta(hours=1)
    assert await allowances.ask(3, "anne", shared=False) is None
    assert await allowances.ask(5, "anne", shared=False) is not None
    await allowances.forget("anne")
    assert await allowances.ask(5, "anne", shared=False) is None


async def test_who_is_forgotten_makes_no_room_for_more(store: Store) -> None:
    limits = HourlyLimits(of_all=4, of_person=2, of_shared=100)
    allowances = Allowances(store.database, limits, store.clock)
    for _ in range(2):
        # Numbers of entries come again once the last of them are deleted.
        for number in (1, 2):
            assert await allowances.ask(number, "anne", shared=False) is None
        assert await allowances.ask(3, "anne", shared=False) is not None
        await allowances.forget("anne")
        await allowances.forget("anne")
    assert await allowances.ask(1, "anne", shared=False) == store.clock.now + timedelta(hours=1)
    async with store.database.reading() as connection:
        rows = (await connection.execute(metadata.tables["allowances"].select())).all()
    assert [row.person for row in rows] == [""] * 4


async def test_the_limit_of_all_holds_for_everybody_and_shared_mails_have_their_own(store: Store) -> None:
    limits = HourlyLimits(of_all=4, of_person=100, of_shared=1)
    allowances = Allowances(store.database, limits, store.clock)
    assert await allowances.ask(1, "a", shared=True) is None
    assert await allowances.ask(2, "a", shared=True) is not None
    assert await allowances.ask(6, "b", shared=True) is None
    for _ in range(3):
        assert await allowances.look(7, "b", shared=True) == store.clock.now + timedelta(hours=1)
        assert await allowances.look(7, "b", shared=False) is None
    assert await allowances.ask(3, "c", shared=False) is None
    assert await allowances.ask(4, "d", shared=False) is None
    assert await allowances.ask(5, "e", shared=False) is not None


async def test_many_who_ask_at_once_get_no_more_than_there_is(store: Store) -> None:
    limits = HourlyLimits(of_all=5, of_person=100, of_shared=100)
    allowances = Allowances(store.database, limits, store.clock)
    answers = await asyncio.gather(*(allowances.ask(one, f"p{one}", shared=False) for one in range(12)))
    assert answers.count(None) == 5


async def test_a_cursor_never_goes_back_unless_all_is_numbered_anew(store: Store) -> None:
    cursors = Cursors(store.database)
    assert await cursors.get("INBOX") is None
    for cursor, expected in (((7, 3), (7, 3)), ((7, 2), (7, 3)), ((7, 9), (7, 9)), ((8, 1), (8, 1))):
        async with store.database.writing() as connection:
            await cursors.advance(connection, "INBOX", Cursor(*cursor))
        assert await cursors.get("INBOX") == Cursor(*expected)
    assert await cursors.get("Other") is None


async def test_a_pause_is_seen_by_all(store: Store) -> None:
    switches = Switches(store.database, store.clock)
    assert await switches.paused_since() is None
    await switches.pause()
    await switches.pause()
    assert await switches.paused_since() == store.clock.now
    await switches.resume()
    assert await switches.paused_since() is None


async def test_names_outlast_a_change_of_the_secret_and_another_secret_is_told(store: Store) -> None:
    rotated = seal_for("mail", "another secret of tests", ["a secret of the tests"])
    assert (await load_names(store.database, rotated)).person(ANNE) == store.names.person(ANNE)
    with pytest.raises(Unreadable):
        await load_names(store.database, seal_for("mail", "another secret of tests"))
