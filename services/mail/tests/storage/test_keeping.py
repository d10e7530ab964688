"""What is kept of somebody goes as a whole, whatever happens while it is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mail_store import ANNE, BOB, Store, written
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mail_service import lanes
from mail_service.storage.tables import metadata
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
            # Whichever lane holds the order: it is still there, and so is what it needs.
            assert await left(store) == before
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
