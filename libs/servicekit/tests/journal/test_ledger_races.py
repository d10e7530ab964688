"""Operators and jobs change what others use: nothing that was accepted is lost, no answer is mixed, and what
is old goes however much there is."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError

from journal_office import Office
from servicekit.journal import queries
from servicekit.journal.records import EntryState, PartState
from servicekit.storage.deleting import PAGE

LANE = "chat of 7359124680"


async def empty_lane(office: Office) -> None:
    held = await office.journal().hold(LANE)
    assert held is not None
    await held.release()


async def until_it_waits(office: Office, task: asyncio.Task[None]) -> None:
    """For somebody else's transaction, or has ended. SQLite lets nobody begin before that."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while office.database.dialect == "postgresql" and not task.done():
        async with office.database.reading() as connection:
            if (await connection.execute(waiting)).scalar_one():
                return


async def test_a_lane_into_which_something_comes_is_not_deleted_as_empty(office: Office) -> None:
    await empty_lane(office)
    async with office.database.writing() as connection:
        number = await office.journal().store(connection, "m1", LANE, b"question")
        removing = asyncio.create_task(office.ledger.remove_empty([LANE]))
        await until_it_waits(office, removing)
    await removing
    assert number is not None
    assert await office.ledger.find(number) is not None


async def test_a_lane_is_there_until_what_is_put_into_it_is(office: Office) -> None:
    await empty_lane(office)
    values = {"name": LANE, "generation": 0, "owner": "", "leased_until": office.clock.now, "control": ""}
    async with office.database.writing() as connection:
        await connection.execute(queries.add_lane(office.tables, office.database.dialect), values)
        removing = asyncio.create_task(office.ledger.remove_empty([LANE]))
        await until_it_waits(office, removing)
        await office.journal().store(connection, "m1", LANE, b"question")
    await removing
    assert await office.ledger.oldest_pending(LANE) is not None


async def test_what_a_database_refuses_is_told_without_the_values(office: Office) -> None:
    entry = dict.fromkeys(("key", "state", "reason"), "") | {"lane": LANE, "payload": b"", "attempts": 0}
    times = dict.fromkeys(("received_at", "due_at"), office.clock.now)
    with pytest.raises(IntegrityError) as refused:
        async with office.database.writing() as connection:
            await connection.execute(insert(office.tables.entries).values(entry | times))
    told = "".join(traceback.format_exception(refused.value))
    assert "INSERT INTO entries" in told
    assert LANE not in told


async def test_an_answer_that_was_given_up_is_sent_on_and_not_computed_again(office: Office) -> None:
    held, entry = await office.claimed()
    first, second, third = await held.answer(entry, [b"one", b"two", b"three"])
    await held.sent(await held.sending(first), "11")
    await held.dropped(second)
    await held.unknown(await held.sending(third))
    await held.bury(entry, "no way")
    assert await office.ledger.requeue(entry.id)
    again = await office.ledger.find(entry.id)
    assert again is not None
    assert again.state is EntryState.ANSWERED
    states = [(part.content, part.state) for part in await office.ledger.parts(entry.id)]
    assert states == [(b"one", PartState.SENT), (b"two", PartState.OPEN), (b"three", PartState.UNKNOWN)]
    await held.bury(again, "no way")
    assert await office.ledger.requeue(entry.id)
    assert not await office.ledger.requeue(entry.id)


async def test_what_was_never_answered_is_answered_after_all(office: Office) -> None:
    held, entry = await office.claimed()
    await held.open_part(entry)
    await held.bury(entry, "no way")
    assert await office.ledger.requeue(entry.id)
    again = await held.due()
    assert again is not None
    assert again.state is EntryState.OPEN


async def test_a_shorter_answer_leaves_no_part_that_waits(office: Office) -> None:
    held, entry = await office.claimed()
    await held.open_part(entry, 0)
    await held.open_part(entry, 1)
    (part,) = await held.answer(entry, [b"one"])
    await held.sent(part)
    await held.finish(entry)
    assert [part.state for part in await office.ledger.parts(entry.id)] == [PartState.SENT, PartState.DROPPED]


async def test_of_what_was_given_up_long_ago_only_that_it_was_is_kept(office: Office) -> None:
    held, entry = await office.claimed()
    await held.answer(entry, [b"an answer"])
    await held.bury(entry, "no way")
    await held.release()
    late, recent = await office.claimed("m2", "other")
    office.clock.turn(100)
    await late.bury(recent, "not yet old")
    assert await office.ledger.clean(office.clock.now) == 1
    old, kept = await office.ledger.find(entry.id), await office.ledger.find(recent.id)
    assert old is not None
    assert kept is not None
    assert (old.payload, old.reason, await office.ledger.parts(old.id)) == (b"", "no way", [])
    assert kept.payload == b"question"
    assert await office.ledger.clean(office.clock.now) == 0


async def test_all_that_is_old_goes_page_by_page_with_its_lanes(office: Office) -> None:
    tables, now, count = office.tables, office.clock.now, PAGE * 2 + 1
    lane = {"generation": 0, "owner": "", "leased_until": now, "control": ""}
    entry: dict[str, Any] = {"state": EntryState.DONE, "payload": b"", "attempts": 0, "reason": ""}
    entry |= {"received_at": now, "due_at": now, "closed_at": now}
    async with office.database.writing() as connection:
        await connection.execute(insert(tables.lanes), [{"name": f"{n}", **lane} for n in range(count)])
        rows = [{"key": f"m{n}", "lane": f"{n}", **entry} for n in range(count)]
        await connection.execute(insert(tables.entries), rows)
    office.clock.turn(1)
    await office.journal().receive("new", "5", b"question")
    assert await office.ledger.clean(office.clock.now) == count
    async with office.database.reading() as connection:
        left = [
            (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (tables.entries, tables.lanes)
        ]
    assert left == [1, 1]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM entries WHERE lane IN ('1', '1!') AND id > 5", "ix_entries_lane"),
        ("SELECT count(*) FROM entries WHERE state = 'dead'", "ix_entries_dead"),
        ("SELECT count(*) FROM parts WHERE repeats > 0", "ix_parts_repeated"),
    ],
)
async def test_what_is_looked_for_among_all_that_is_kept_has_an_index(
    office: Office, query: str, index: str
) -> None:
    explain = "EXPLAIN QUERY PLAN" if office.database.dialect == "sqlite" else "EXPLAIN"
    async with office.database.writing() as connection:
        if office.database.dialect == "postgresql":
            # The table is empty: reading all of it would be best.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = (await connection.execute(text(f"{explain} {query}"))).all()
    assert index in str(plan)
