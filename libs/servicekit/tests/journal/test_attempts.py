"""What ends a process counts against a message; what only interrupts the work on it does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from journal_office import LEASE, Office
from servicekit.journal.attempts import attempt
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.records import Entry
from servicekit.storage.database import Database, StorageUnavailable, database_url


async def tried(office: Office, entry: Entry) -> int:
    found = await office.ledger.find(entry.id)
    assert found is not None
    return found.attempts


async def test_what_goes_wrong_counts_and_what_goes_well_too(office: Office) -> None:
    held, entry = await office.claimed()
    async with attempt(held, entry) as attempts:
        assert attempts == 1
    with pytest.raises(ValueError, match="broken"):
        async with attempt(held, entry):
            raise ValueError("broken")
    assert await tried(office, entry) == 2


async def test_who_loses_the_lane_or_is_told_to_end_counts_nothing(office: Office) -> None:
    held, entry = await office.claimed()
    begun = asyncio.Event()

    async def work() -> None:
        async with attempt(held, entry):
            begun.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await begun.wait()
    working.cancel()
    await asyncio.wait({working})
    assert working.cancelled()
    assert await tried(office, entry) == 0

    async def be_too_slow() -> None:
        async with attempt(held, entry):
            office.clock.turn(LEASE)
            assert await office.journal("two").claim() is not None
            await held.renew()

    with pytest.raises(LaneLost):
        await be_too_slow()
    assert await tried(office, entry) == 0


async def test_a_database_that_goes_away_is_waited_for_until_it_can_be_taken_back(
    office: Office, address: str
) -> None:
    held, entry = await office.claimed()
    impatient = Database(database_url(address), command_seconds=0.1)
    lane = HeldLane(impatient, office.tables, held.claim, timedelta(seconds=LEASE), office.clock)
    locker = Database(database_url(address))
    waits: list[float] = []

    async def come_back(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            back.set()
            await locking[0]

    back, locked, locking = asyncio.Event(), asyncio.Event(), list[asyncio.Task[None]]()

    async def lock() -> None:
        async with locker.writing() as connection:
            await connection.execute(update(office.tables.entries).values(reason=""))
            await connection.execute(update(office.tables.lanes).values(control=""))
            locked.set()
            await back.wait()

    async def be_interrupted() -> None:
        async with attempt(lane, entry, sleep=come_back):
            locking.append(asyncio.create_task(lock()))
            await locked.wait()
            await lane.renew()

    with pytest.raises(StorageUnavailable):
        await be_interrupted()
    assert len(waits) >= 2
    assert await tried(office, entry) == 0
    await impatient.close()
    await locker.close()


@pytest.mark.parametrize("is_told_to_end", [False, True])
async def test_what_holds_each_process_up_for_longer_than_the_lease_is_not_tried_for_ever(
    office: Office, is_told_to_end: bool
) -> None:
    held, entry = await office.claimed()

    async def hold_up(lane: HeldLane) -> HeldLane:
        """Somebody else goes on meanwhile."""
        begun, successors = asyncio.Event(), list[HeldLane | None]()

        async def work() -> None:
            async with attempt(lane, entry):
                office.clock.turn(LEASE)
                successors.append(await office.journal("another").claim())
                begun.set()
                if is_told_to_end:
                    await asyncio.Event().wait()
                await lane.renew()

        working = asyncio.create_task(work())
        await begun.wait()
        # As a crew does when it renews the lease and cannot.
        if is_told_to_end:
            working.cancel()
        await asyncio.wait({working})
        (successor,) = successors
        assert successor is not None
        return successor

    counted = list[int]()
    for _ in range(4):
        held = await hold_up(held)
        counted.append(await tried(office, entry))
    assert counted == [0, 1, 2, 3]
    # Something came of it: whatever happens then begins anew.
    await held.put_off(entry, office.clock(), "the AI core is away", forgive=True)
    await hold_up(held)
    assert await tried(office, entry) == 2
