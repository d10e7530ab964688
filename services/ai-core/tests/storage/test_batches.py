"""The tables of batches, in an SQLite file and in PostgreSQL: who may answer a line, and what is kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ai_core.storage.batches import (
    BatchRecord,
    BatchRepository,
    BatchState,
    Claim,
    EndedLine,
    LineState,
)
from ai_core.storage.database import Database
from ai_core.storage.migrations import upgrade
from ai_core.storage.tables import batch_lines, batches
from servicekit.storage.database import database_url

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
KEY = "abcdefghij"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    address = (
        f"sqlite:///{tmp_path}/ai-core.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    await upgrade(database_url(address))
    database = Database(database_url(address))
    yield database
    await database.close()


@pytest.fixture
async def repository(database: Database) -> BatchRepository:
    return BatchRepository(database)


async def add(
    repository: BatchRepository, name: str = "one", lines: int = 3, key_id: str = KEY, age: int = 0
) -> BatchRecord:
    record = BatchRecord(id=name, key_id=key_id, lines=lines, created_at=NOW - timedelta(seconds=age))
    await repository.add(record, [b"%s %d" % (name.encode(), number) for number in range(lines)])
    return record


async def claimed(repository: BatchRepository, token: str, key_id: str = KEY) -> Claim:
    found = await repository.claim(key_id, token, 60)
    assert found is not None
    return found[0]


async def let_leases_lapse(database: Database) -> None:
    """As if the processes that hold them had died a while ago."""
    async with database.writing() as connection:
        past = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute(
            update(batch_lines).where(batch_lines.c.claim.is_not(None)).values(lease_until=past)
        )


async def results_of(repository: BatchRepository, batch_id: str) -> list[EndedLine]:
    return [line async for line in repository.ended_lines(batch_id)]


async def counts_of(repository: BatchRepository, batch_id: str) -> dict[str, int]:
    found = await repository.find(KEY, batch_id)
    assert found is not None
    return {state.value: count for state, count in found[1].items() if count}


async def test_a_batch_comes_back_as_it_was_stored_to_its_own_key_only(repository: BatchRepository) -> None:
    record = await add(repository)
    assert await repository.find(KEY, "one") == (record, dict.fromkeys(LineState, 0) | {LineState.WAITING: 3})
    assert await repository.find("another", "one") is None
    assert await repository.find(KEY, "two") is None
    assert await repository.of_key("another", 10) == []


async def test_the_newest_batch_is_listed_first(repository: BatchRepository) -> None:
    for name, age in (("old", 2), ("new", 0), ("middle", 1)):
        await add(repository, name, age=age)
    assert [record.id for record, _ in await repository.of_key(KEY, 10)] == ["new", "middle", "old"]
    assert [record.id for record, _ in await repository.of_key(KEY, 1)] == ["new"]


async def test_lines_are_handed_out_in_order_each_once(repository: BatchRepository) -> None:
    await add(repository, "second", 1)
    await add(repository, "first", 2, age=10)
    handed = [await repository.claim(KEY, f"t{number}", 60) for number in range(4)]
    assert [found and (found[0].batch_id, found[0].number, found[1]) for found in handed] == [
        ("first", 0, b"first 0"),
        ("first", 1, b"first 1"),
        ("second", 0, b"second 0"),
        None,
    ]
    assert await repository.claim("another", "t", 60) is None


async def test_many_workers_at_once_never_share_a_line(repository: BatchRepository) -> None:
    await add(repository, lines=40)

    async def work(worker: int) -> list[int]:
        numbers: list[int] = []
        while (found := await repository.claim(KEY, f"{worker}-{len(numbers)}", 60)) is not None:
            numbers.append(found[0].number)
            assert await repository.record(found[0], LineState.DONE, b"r")
        return numbers

    taken = Counter(number for numbers in await asyncio.gather(*map(work, range(6))) for number in numbers)
    assert taken == dict.fromkeys(range(40), 1)
    assert await repository.finish() == ["one"]
    found = await repository.find(KEY, "one")
    assert found is not None
    assert found[0].state is BatchState.COMPLETED
    assert found[0].started_at is not None
    assert found[0].finished_at is not None
    assert await repository.finish() == []


async def test_results_come_in_the_order_of_the_input(repository: BatchRepository) -> None:
    await add(repository, lines=250)
    claims = [await claimed(repository, f"t{number}") for number in range(250)]
    for claim in reversed(claims):
        state = LineState.FAILED if claim.number % 2 else LineState.DONE
        await repository.record(claim, state, b"%d" % claim.number)
    lines = await results_of(repository, "one")
    assert [line.result for line in lines] == [b"%d" % number for number in range(250)]
    assert {line.request for line in lines} == {None}
    assert await counts_of(repository, "one") == {"done": 125, "failed": 125}


async def test_a_lapsed_line_is_taken_up_again_and_its_first_owner_writes_nothing(
    database: Database, repository: BatchRepository
) -> None:
    await add(repository, lines=1)
    died = await claimed(repository, "died")
    assert await repository.take_back_lapsed() == 0
    await let_leases_lapse(database)
    assert await repository.take_back_lapsed() == 1
    lives = await claimed(repository, "lives")

    assert not await repository.record(died, LineState.DONE, b"too late")
    await repository.give_back([died])
    assert await repository.renew(["died", "lives"], 60) == {"lives"}
    assert await repository.record(lives, LineState.DONE, b"result")
    assert not await repository.record(lives, LineState.DONE, b"again")
    assert [line.result for line in await results_of(repository, "one")] == [b"result"]


async def test_a_renewed_lease_does_not_lapse(database: Database, repository: BatchRepository) -> None:
    await add(repository, lines=1)
    await claimed(repository, "t")
    await let_leases_lapse(database)
    assert await repository.renew(["t"], 60) == {"t"}
    assert await repository.take_back_lapsed() == 0


async def test_a_line_that_is_given_back_can_be_had_again_at_once_or_later(
    repository: BatchRepository,
) -> None:
    await add(repository, lines=2)
    first, second = await claimed(repository, "a"), await claimed(repository, "b")
    await repository.give_back([first], wait=3600)
    await repository.give_back([second])
    assert (await claimed(repository, "c")).number == second.number
    assert await repository.claim(KEY, "d", 60) is None
    assert await repository.finish() == []


async def test_a_cancelled_batch_keeps_its_results_and_takes_no_more(repository: BatchRepository) -> None:
    await add(repository, lines=3)
    done, running = await claimed(repository, "a"), await claimed(repository, "b")
    await repository.record(done, LineState.DONE, b"result")
    assert await repository.end("one", BatchState.CANCELLED)
    assert not await repository.end("one", BatchState.CANCELLED)

    assert not await repository.record(running, LineState.DONE, b"too late")
    assert await repository.renew(["b"], 60) == set()
    assert await repository.claim(KEY, "c", 60) is None
    assert await repository.keys_with_work() == []
    assert await counts_of(repository, "one") == {"done": 1, "cancelled": 2}
    lines = await results_of(repository, "one")
    assert [(line.result, line.request) for line in lines] == [
        (b"result", None),
        (None, b"one 1"),
        (None, b"one 2"),
    ]


async def test_a_deleted_batch_is_gone_with_its_lines(
    database: Database, repository: BatchRepository
) -> None:
    await add(repository)
    claim = await claimed(repository, "t")
    assert not await repository.delete("another", "one")
    assert await repository.delete(KEY, "one")
    assert not await repository.delete(KEY, "one")
    assert not await repository.record(claim, LineState.DONE, b"x")
    async with database.reading() as connection:
        assert (await connection.execute(batch_lines.select())).all() == []


async def test_keys_with_work_stand_in_the_order_of_their_oldest_batch(repository: BatchRepository) -> None:
    for key_id, name, age in (("one", "a", 5), ("two", "b", 9), ("one", "c", 10), ("three", "d", 1)):
        await add(repository, name, key_id=key_id, age=age)
    assert await repository.keys_with_work() == ["one", "two", "three"]
    assert sorted(await repository.in_progress("one")) == ["a", "c"]


async def test_old_batches_are_forgotten_and_unfinished_ones_never(
    database: Database, repository: BatchRepository
) -> None:
    for name in ("old", "recent", "unfinished"):
        await add(repository, name, age=10_000_000)
    await repository.end("old", BatchState.CANCELLED)
    await repository.end("recent", BatchState.CANCELLED)
    async with database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        await connection.execute(update(batches).where(batches.c.id == "old").values(finished_at=long_ago))
    assert await repository.delete_older(30) == 1
    assert {record.id for record, _ in await repository.of_key(KEY, 10)} == {"recent", "unfinished"}


async def test_the_largest_batch_is_stored_as_a_whole(repository: BatchRepository) -> None:
    record = BatchRecord(id="big", key_id=KEY, lines=10_000, created_at=NOW)
    await repository.add(record, [b"x" * 3_000] * 10_000)
    assert await counts_of(repository, "big") == {"waiting": 10_000}
    assert (await claimed(repository, "t")).number == 0
