"""Lines that a database refuses, or that nobody can read, are told one by one, and the others are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from servicekit.storage import transfer
from servicekit.storage.database import Database, database_url
from servicekit.storage.transfer import Verdict, read_all

metadata = MetaData()
things = Table(
    "things", metadata, Column("id", Integer, primary_key=True), Column("word", String(5), nullable=False)
)


class Thing(msgspec.Struct, tag="thing", tag_field="kind", forbid_unknown_fields=True):
    """What may be too long for its column."""

    id: int
    word: str | None


class Nothing(msgspec.Struct, tag="nothing", tag_field="kind"):
    """Of several kinds, a line is searched for its own before anything else of it is read."""


class Things:
    """Implements servicekit.storage.transfer.Records."""

    type = Thing | Nothing

    async def store(self, connection: AsyncConnection, record: Any) -> Verdict:
        await connection.execute(insert(things).values(id=record.id, word=record.word))
        return Verdict.NEW

    async def all(self, database: Database) -> AsyncIterator[msgspec.Struct | None]:
        async with database.reading() as connection:
            for row in await connection.execute(things.select().order_by(things.c.id)):
                yield Thing(row.id, row.word)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    address = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else "postgres_url"
    if address == "postgres_url":
        address = str(request.getfixturevalue(address))
    made = Database(database_url(address))
    async with made.writing() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.close()


def lines(*values: tuple[int, str | None]) -> list[bytes]:
    return [msgspec.json.encode(Thing(*value)) for value in values]


async def test_what_the_database_refuses_is_told_and_the_others_are_taken(database: Database) -> None:
    given = lines((1, "one"), (1, "secret"), (2, None), (3, "three"))
    report = await read_all(iter(given), database, Things())
    assert [refusal.line for refusal in report.refusals] == [2, 3]
    assert all(refusal.reason.startswith("the database does not take it") for refusal in report.refusals)
    assert "secret" not in str(report)
    assert [one.id async for one in Things().all(database) if isinstance(one, Thing)] == [1, 3]


async def test_what_is_too_long_or_no_text_for_postgresql_is_told(postgres_url: str) -> None:
    database = Database(database_url(postgres_url))
    async with database.writing() as connection:
        await connection.run_sync(metadata.create_all)
    given = lines((1, "one"), (2, "longer than five"), (3, "\x00"), (2**40, "far"), (4, "four"))
    report = await read_all(iter(given), database, Things())
    assert [refusal.line for refusal in report.refusals] == [2, 3, 4]
    assert [one.id async for one in Things().all(database) if isinstance(one, Thing)] == [1, 4]
    await database.close()


async def test_nests_without_end_are_refused(database: Database) -> None:
    deep = b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b',"kind":"thing"}'
    report = await read_all(iter([deep, *lines((1, "one"))]), database, Things())
    assert [refusal.reason for refusal in report.refusals] == ["it is nested too deeply"]
    assert report.kinds["thing"].new == 1


async def test_of_refused_lines_only_those_that_are_told_are_kept(database: Database) -> None:
    most = transfer.MOST_REFUSALS
    report = await read_all((b"nonsense" for _ in range(3 * most)), database, Things())
    assert [refusal.line for refusal in report.refusals] == list(range(1, most + 1))
    assert report.refused == 3 * most
