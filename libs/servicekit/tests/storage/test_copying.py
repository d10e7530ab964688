"""A whole database in another one, of whichever kind: all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.engine import Engine
from sqlalchemy.util import await_only

from servicekit.storage import copying
from servicekit.storage.copying import PAGE_ROWS, Copied, CopyRefused, copy
from servicekit.storage.database import Database, StorageUnavailable, database_url
from servicekit.storage.migrating import Schema, upgrade
from servicekit.storage.types import NUMBER_OF, Moment, Words

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", {before}, None, None
def upgrade():
    {body}
"""
TABLES = """number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table("chats", sa.Column("name", sa.String(12), primary_key=True),
        sa.Column("words", sa.JSON(), nullable=False), sa.Column("open", sa.Boolean(), nullable=False))
    op.create_table("said", sa.Column("id", number, primary_key=True),
        sa.Column("chat", sa.String(12), sa.ForeignKey("chats.name"), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False))"""

metadata = MetaData()
# Who refers comes before who is referred to, by the alphabet and by the order in which they are made.
said = Table(
    "said",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("chat", ForeignKey("chats.name"), nullable=False),
    Column("content", LargeBinary),
    Column("at", Moment, nullable=False),
)
chats = Table(
    "chats",
    metadata,
    Column("name", String(12), primary_key=True),
    Column("words", Words, nullable=False),
    Column("open", Boolean, nullable=False),
)
settings = Table("settings", metadata, Column("name", String(9), primary_key=True), Column("value", JSON))
# It outlasts what it is about, and so does not refer to it.
notes = Table("notes", metadata, Column("said_id", BigInteger, primary_key=True, info={NUMBER_OF: "said.id"}))


class Killed(Exception):
    """As if the process were gone."""


@contextmanager
def killed_at(number: int, dialect: str) -> Iterator[None]:
    """The statement of this number is not made any more by the target."""
    made = 0

    def count(connection: object, *_: object) -> None:
        nonlocal made
        made += connection.dialect.name == dialect  # type: ignore[attr-defined]
        if made == number:
            raise Killed

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


@dataclass(frozen=True)
class Pair:
    source: Database
    target: Database
    schema: Schema

    async def fill(self, chat: str = "a chat", contents: tuple[bytes | None, ...] = (b"one", None)) -> None:
        """What a service would have written."""
        rows = [
            {"chat": chat, "content": content, "at": NOW + timedelta(seconds=number)}
            for number, content in enumerate(contents)
        ]
        async with self.source.writing() as connection:
            await connection.execute(insert(chats), {"name": chat, "words": ("é", "b"), "open": True})
            await connection.execute(insert(settings), {"name": "a", "value": {"deep": [1, None, "\x00"]}})
            if rows:
                await connection.execute(insert(said), rows)

    async def copy(self) -> list[Copied]:
        return await copy(self.source, self.target, self.schema)


async def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    async with database.reading() as connection:
        return {
            table.name: [
                tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    versions = tmp_path / "versions"
    versions.mkdir()
    first = MIGRATION.format(revision="1", before=None, body=TABLES)
    (versions / "v1.py").write_text(first)
    columns = 'sa.Column("name", sa.String(9), primary_key=True), sa.Column("value", sa.JSON())'
    note = 'sa.Column("said_id", sa.BigInteger(), primary_key=True, autoincrement=False)'
    more = f'op.create_table("settings", {columns}); op.create_table("notes", {note})'
    (versions / "v2.py").write_text(MIGRATION.format(revision="2", before='"1"', body=more))
    return Schema(metadata, versions, lock_number=1)


@pytest.fixture(params=["to postgresql", "to sqlite"])
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str, schema: Schema
) -> AsyncIterator[Pair]:
    file, server = Database(database_url(f"sqlite:///{tmp_path}/a.db")), Database(database_url(postgres_url))
    source, target = (file, server) if request.param == "to postgresql" else (server, file)
    await upgrade(source, schema)
    yield Pair(source, target, schema)
    await source.close()
    await target.close()


async def test_all_of_it_is_there_then_and_numbering_goes_on(pair: Pair) -> None:
    contents = tuple(b"%d" % number for number in range(2 * PAGE_ROWS + 1))
    await pair.fill(contents=contents)
    copied = await pair.copy()
    rows = {"chats": 1, "settings": 1, "said": len(contents), "notes": 0}
    assert {each.table: each.rows for each in copied} == rows
    assert [each.table for each in copied].index("chats") < [each.table for each in copied].index("said")
    assert await everything(pair.target) == await everything(pair.source)
    fresh = insert(said).values(chat="a chat", at=NOW).returning(said.c.id)
    async with pair.target.writing() as connection:
        assert (await connection.execute(fresh)).scalar_one() == len(contents) + 1


@pytest.mark.parametrize("kept", [-7, 40])
async def test_no_number_is_given_again_under_which_anything_is_kept(
    tmp_path: Path, postgres_url: str, schema: Schema, kept: int
) -> None:
    file, server = Database(database_url(f"sqlite:///{tmp_path}/a.db")), Database(database_url(postgres_url))
    await upgrade(file, schema)
    pair = Pair(file, server, schema)
    await pair.fill(contents=())
    async with file.writing() as connection:
        await connection.execute(insert(notes), {"said_id": kept})
    await pair.copy()
    fresh = insert(said).values(chat="a chat", at=NOW).returning(said.c.id)
    async with server.writing() as connection:
        assert (await connection.execute(fresh)).scalar_one() == max(kept, 0) + 1
    await file.close()
    await server.close()


async def test_large_rows_are_read_a_few_at_a_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PAGE_BYTES", 30_000)
    large = tuple(bytes([number]) * 10_001 for number in range(7))
    await pair.fill(contents=(b"small", *large, bytes(30_001)))
    pages: list[int] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.startswith("INSERT INTO said"):
            assert isinstance(values, list | tuple)
            pages.append(
                sum(len(row[2]) for row in values) if isinstance(values[0], tuple) else len(values[2])
            )

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await pair.copy()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(pages) == 5
    assert all(size <= 30_000 for size in pages[:-1])
    assert await everything(pair.target) == await everything(pair.source)


async def test_an_empty_database_is_copied_as_well(pair: Pair) -> None:
    assert {each.rows for each in await pair.copy()} == {0}


async def test_a_copy_that_is_cut_off_anywhere_leaves_nothing_and_can_be_made_again(pair: Pair) -> None:
    await pair.fill()
    await upgrade(pair.target, pair.schema)
    empty, number = await everything(pair.target), 0
    while True:
        number += 1
        try:
            with killed_at(number, pair.target.dialect):
                await pair.copy()
        except Killed:
            assert await everything(pair.target) == empty
        else:
            break
    assert number > 8
    assert await everything(pair.target) == await everything(pair.source)


async def test_a_target_that_holds_something_is_left_as_it_is(pair: Pair) -> None:
    await pair.fill()
    await upgrade(pair.target, pair.schema)
    async with pair.target.writing() as connection:
        await connection.execute(insert(settings), {"name": "mine", "value": 1})
    with pytest.raises(CopyRefused, match="not empty: its table settings has 1 rows"):
        await pair.copy()
    assert (await everything(pair.target))["said"] == []
    assert (await everything(pair.target))["settings"] == [("mine", 1)]


async def test_a_source_of_another_version_is_not_copied(pair: Pair) -> None:
    async with pair.source.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '1'"))
    with pytest.raises(CopyRefused, match="has the schema 1, this version needs 2"):
        await pair.copy()
    async with pair.source.writing() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(CopyRefused, match="no tables of this service"):
        await pair.copy()


@pytest.mark.parametrize("chat", ["longer than twelve", "zero \x00"])
async def test_a_row_that_does_not_fit_is_told_by_its_table_and_not_by_its_words(
    tmp_path: Path, postgres_url: str, schema: Schema, chat: str
) -> None:
    file, server = Database(database_url(f"sqlite:///{tmp_path}/a.db")), Database(database_url(postgres_url))
    await upgrade(file, schema)
    pair = Pair(file, server, schema)
    await pair.fill(chat)
    with pytest.raises(CopyRefused, match=r"A row of chats does not fit") as caught:
        await pair.copy()
    assert chat not in str(caught.value)
    assert (await everything(server))["settings"] == []
    await file.close()
    await server.close()


async def test_nobody_writes_into_either_of_them_meanwhile(
    pair: Pair, tmp_path: Path, postgres_url: str
) -> None:
    await pair.fill()
    await upgrade(pair.target, pair.schema)
    addresses = {"sqlite": f"sqlite:///{tmp_path}/a.db", "postgresql": postgres_url}
    sides = [pair.target] if pair.source.dialect == "postgresql" else [pair.source, pair.target]
    service = [Database(database_url(addresses[side.dialect]), command_seconds=0.3) for side in sides]
    tried: list[int] = []

    async def write() -> None:
        for database in service:
            with pytest.raises(StorageUnavailable):
                async with database.writing() as connection:
                    await connection.execute(insert(settings), {"name": "late", "value": 1})
            tried.append(1)

    copying = asyncio.Event()

    def begun(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO said"):
            copying.set()
            await_only(write())

    event.listen(Engine, "before_cursor_execute", begun)
    try:
        await pair.copy()
    finally:
        event.remove(Engine, "before_cursor_execute", begun)
    assert copying.is_set()
    assert len(tried) == len(sides)
    assert [row[0] for row in (await everything(pair.target))["settings"]] == ["a"]
    for database in service:
        await database.close()
