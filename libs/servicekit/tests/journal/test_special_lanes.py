"""Lanes that are held by name, messages that go first, and what is stored together with a message."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from journal_office import LEASE, Office, address, office
from servicekit.journal.lane import LaneLost
from servicekit.journal.records import EntryState, PartState

__all__ = ["address", "office"]


async def test_a_lane_that_is_held_by_its_name_has_one_holder(office: Office) -> None:
    held = await asyncio.gather(*(office.journal(str(one)).hold("watch") for one in range(6)))
    (first,) = [one for one in held if one is not None]
    assert await office.journal("two").claim() is None
    office.clock.turn(LEASE + 1)
    assert await office.journal("two").hold("watch") is not None
    with pytest.raises(LaneLost):
        await first.renew()


async def test_a_lane_that_is_let_go_can_be_held_at_once(office: Office) -> None:
    first = await office.journal().hold("watch")
    assert first is not None
    await first.release()
    assert await office.journal("two").hold("watch") is not None


async def test_what_is_urgent_goes_before_what_waits_in_other_lanes(office: Office) -> None:
    for key in ("m1", "m2", "m3"):
        await office.journal().receive(key, f"lane {key}", b"", urgent=key == "m3")
    claims = [await office.journal().claim() for _ in range(3)]
    assert [held.name for held in claims if held is not None] == ["lane m3", "lane m1", "lane m2"]


async def test_what_was_urgent_waits_like_others_once_it_is_put_off(office: Office) -> None:
    await office.journal().receive("m1", "one", b"")
    await office.journal().receive("m2", "two", b"", urgent=True)
    held = await office.journal().claim()
    assert held is not None
    entry = await held.due()
    assert entry is not None
    assert entry.key == "m2"
    await held.put_off(entry, office.clock.now + timedelta(seconds=5), "busy")
    await held.release()
    office.clock.turn(10)
    again = await office.journal().claim()
    assert again is not None
    assert again.name == "one"


async def test_an_entry_and_what_belongs_to_it_are_stored_together_or_not_at_all(office: Office) -> None:
    journal = office.journal()

    async def store(*, fail: bool) -> int | None:
        async with office.database.writing() as connection:
            number = await journal.store(connection, "m1", "chat", b"")
            if fail:
                raise RuntimeError
            return number

    with pytest.raises(RuntimeError):
        await store(fail=True)
    assert await journal.claim() is None
    number = await store(fail=False)
    assert number is not None
    assert await store(fail=False) is None
    async with office.database.reading() as connection:
        assert list((await connection.execute(select(office.tables.entries.c.id))).scalars()) == [number]


async def test_an_attempt_that_only_waited_may_be_forgiven(office: Office) -> None:
    held, entry = await office.claimed()
    assert [await held.begin(entry), await held.begin(entry)] == [1, 2]
    await held.put_off(entry, office.clock.now, "away", forgive=True)
    assert await held.begin(entry) == 2
    await held.put_off(entry, office.clock.now, "it failed")
    assert await held.begin(entry) == 3


async def test_what_belongs_to_a_change_is_written_with_it_or_not_at_all(office: Office) -> None:
    held, entry = await office.claimed()
    seen: list[str] = []

    async def also(connection: AsyncConnection) -> None:
        state = select(office.tables.entries.c.state)
        seen.append((await connection.execute(state)).scalar_one())

    async def fail(_connection: AsyncConnection) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await held.answer(entry, [b"x"], also=fail)
    assert await held.parts(entry) == []
    (part,) = await held.answer(entry, [b"x"], also=also)
    with pytest.raises(RuntimeError):
        await held.sent(part, also=fail)
    assert [one.state for one in await held.parts(entry)] == [PartState.OPEN]
    await held.sent(part, also=also)
    with pytest.raises(RuntimeError):
        await held.finish(entry, also=fail)
    await held.finish(entry, also=also)
    assert seen == [EntryState.ANSWERED, EntryState.ANSWERED, EntryState.DONE]


async def test_what_was_given_up_can_be_dropped_and_nothing_else(office: Office) -> None:
    held, entry = await office.claimed()
    await held.open_part(entry)
    assert not await office.ledger.drop(entry.id)
    await held.bury(entry, "broken")
    assert await office.ledger.drop(entry.id)
    assert not await office.ledger.drop(entry.id)
    assert await office.ledger.find(entry.id) is None
    async with office.database.reading() as connection:
        assert (await connection.execute(select(office.tables.parts))).all() == []
