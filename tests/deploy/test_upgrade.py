"""A new version starts on what an older one has left, and an older one on the backup of before."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, Date, DateTime, Integer, LargeBinary, MetaData, insert, select
from sqlalchemy.types import JSON, TypeEngine

from ai_core.storage.migrations import SCHEMA as AI_CORE
from mail_service.storage.migrations import SCHEMA as MAIL
from servers import HOST, PostgresServer
from servicekit.storage.database import Database, database_url
from servicekit.storage.migrating import Schema, SchemaTooNew, configuration, upgrade
from telegram_service.storage.migrations import SCHEMA as TELEGRAM
from telegram_service.storage.people import People
from workspace_setup.servers import postgresql_programs

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "deploy" / "backup"
SCHEMAS = {"ai-core": AI_CORE, "telegram": TELEGRAM, "mail": MAIL}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def revisions(schema: Schema) -> list[str]:
    """All, the oldest first."""
    scripts = ScriptDirectory.from_config(configuration(schema))
    return [script.revision for script in scripts.walk_revisions()][::-1]


BEFORE = [(name, revision) for name, schema in SCHEMAS.items() for revision in revisions(schema)[:-1]]


async def take_to(database: Database, schema: Schema, revision: str) -> None:
    """As a version that knew no later revision has left it."""

    def run(connection: Connection) -> None:
        config = configuration(schema)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    async with database.writing() as connection:
        await connection.run_sync(run)


def some(kind: TypeEngine[Any]) -> object:
    """A value for a column. Numbers and names are the same everywhere, so references lead to rows."""
    values = {Boolean: True, Integer: 1, LargeBinary: b"\x01sealed", JSON: {"a": [1]}, Date: date(2026, 3, 1)}
    if isinstance(kind, DateTime):
        return NOW if kind.timezone else NOW.replace(tzinfo=None)
    return next((value for of, value in values.items() if isinstance(kind, of)), "x")


async def there(database: Database) -> MetaData:
    """The tables as they are."""
    found = MetaData()
    async with database.reading() as connection:
        await connection.run_sync(found.reflect)
    found.remove(found.tables["alembic_version"])
    return found


async def rows(database: Database, of: MetaData) -> dict[str, list[dict[str, Any]]]:
    """What stands in these tables and columns."""
    async with database.reading() as connection:
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in of.sorted_tables
        }


@pytest.fixture(params=["sqlite", "postgresql"])
async def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Database]]:
    """Two that start at once, on one database."""
    url = f"sqlite:///{tmp_path}/a.db"
    address = url if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    databases = [Database(database_url(address), command_seconds=30) for _ in range(2)]
    yield databases
    for database in databases:
        await database.close()


@pytest.mark.parametrize(("name", "revision"), BEFORE)
async def test_a_new_version_takes_over_what_an_older_one_has_kept(
    replicas: list[Database], name: str, revision: str
) -> None:
    schema = SCHEMAS[name]
    await take_to(replicas[0], schema, revision)
    older = await there(replicas[0])
    async with replicas[0].writing() as connection:
        for table in older.sorted_tables:
            values = {column.name: some(column.type) for column in table.c}
            await connection.execute(insert(table).values(values))
    before = await rows(replicas[0], older)
    assert all(len(kept) == 1 for kept in before.values())

    done = await asyncio.gather(*(upgrade(database, schema) for database in replicas))

    # One of them did it, the other waited and found it done.
    assert sorted(done, key=str) == [revisions(schema)[-1], None]
    assert await rows(replicas[0], older) == before
    assert await upgrade(replicas[1], schema) is None


def test_there_are_versions_before_this_one() -> None:
    assert {name for name, _ in BEFORE} == set(SCHEMAS)


async def test_an_older_version_starts_on_the_backup_of_before(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    versions = tmp_path / "versions"
    shutil.copytree(TELEGRAM.versions, versions, ignore=shutil.ignore_patterns("__pycache__"))
    newest = revisions(TELEGRAM)[-1]
    next(versions.glob(f"v{newest}_*.py")).unlink()
    older = replace(TELEGRAM, versions=versions)
    postgres_server.execute("CREATE ROLE telegram LOGIN")
    postgres_server.execute("CREATE DATABASE telegram OWNER telegram")
    database = Database(database_url(postgres_server.url("telegram")))
    try:
        await upgrade(database, older)
        people = People(database, lambda: NOW)
        await people.meet(1)
        name = await asyncio.to_thread(_backup, postgres_server, tmp_path)
        await upgrade(database, TELEGRAM)
        await people.meet(2)
        # Steps only lead upwards: an older version does not know where it is.
        with pytest.raises(SchemaTooNew, match=f"schema {newest}, which a later version has made"):
            await upgrade(database, older)
        await database.close()
        await asyncio.to_thread(_run, postgres_server, tmp_path, "restore.sh", name, "databases")
        assert await upgrade(database, older) is None
        assert [one.person.id for one in await people.listed()] == [1]
        # And forward again.
        assert await upgrade(database, TELEGRAM) == newest
    finally:
        await database.close()
        postgres_server.drop("telegram")
        postgres_server.execute("DROP ROLE telegram")


def _backup(server: PostgresServer, folder: Path) -> str:
    (folder / "backups").mkdir()
    for part in ("config", "deploy/secrets", "deploy/certificates"):
        (folder / "sources" / part).mkdir(parents=True)
    (folder / "sources" / ".env").write_text("AI_DOMAIN=ai.example.org\n")
    _run(server, folder, "backup.sh")
    (made,) = (folder / "backups").glob("neo-*")
    return made.name


def _run(server: PostgresServer, folder: Path, script: str, *arguments: str) -> None:
    programs = postgresql_programs()
    done = subprocess.run(
        ["sh", SCRIPTS / script, *arguments],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": HOST,
            "PGPORT": str(server.port),
            "PGUSER": "neo",
            "PGPASSWORD": server.url("postgres").split(":")[2].split("@")[0],
            "BACKUP_DIR": str(folder / "backups"),
            "BACKUP_SOURCES": str(folder / "sources"),
            "BACKUP_DATABASES": "telegram",
            "RESTORE_CONFIRM": "yes",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
