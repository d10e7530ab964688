"""The database, in an SQLite file or in PostgreSQL: what holds for both, and how it is addressed."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from ai_core.errors import StorageUnavailable
from ai_core.storage.database import Database
from ai_core.storage.keys import KeyRecord, KeyRepository
from ai_core.storage.migrations import upgrade
from ai_core.storage.tables import metadata
from ai_core.storage.usage import Amount, UsageKey, UsageRepository
from servicekit.storage.database import DatabaseAddressError, database_url

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
TODAY = NOW.date()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ai-core.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    await upgrade(database_url(address))
    database = Database(database_url(address))
    yield database
    await database.close()


@pytest.fixture
async def keys(database: Database) -> KeyRepository:
    return KeyRepository(database)


@pytest.fixture
async def usage(database: Database) -> UsageRepository:
    return UsageRepository(database)


def record(key_id: str = "abcdefghij", **fields: object) -> KeyRecord:
    defaults: dict[str, object] = {
        "id": key_id,
        "name": "Économe’s key <b>",
        "secret_digest": "a" * 64,
        "scopes": ("generate", "admin"),
        "created_at": NOW,
    }
    return KeyRecord(**(defaults | fields))  # type: ignore[arg-type]


async def test_a_key_comes_back_as_it_was_stored(keys: KeyRepository) -> None:
    full = record(
        previous_digest="b" * 64,
        previous_valid_until=NOW + timedelta(hours=1),
        allowed_models=("one", "two"),
        networks=("10.0.0.0/8", "2001:db8::/32"),
        default_model="two",
        requests_per_minute=60,
        tokens_per_minute=10**11,
        tokens_per_day=10**12,
        concurrent_requests=4,
        priority=-1,
        fair_by_user=True,
        rotated_at=NOW,
        expires_at=NOW.astimezone(timezone(timedelta(hours=-5))),
        revoked_at=NOW,
    )
    await keys.add(full)
    assert await keys.find("abcdefghij") == full
    assert await keys.find("unknown") is None


async def test_keys_are_listed_from_the_oldest(keys: KeyRepository) -> None:
    for number, key_id in enumerate(("second", "third", "first")):
        created = NOW if key_id == "first" else NOW + timedelta(seconds=1 + number)
        await keys.add(record(key_id, created_at=created))
    assert [key.id for key in await keys.all()] == ["first", "second", "third"]


async def test_an_id_is_given_once(keys: KeyRepository) -> None:
    await keys.add(record())
    with pytest.raises(IntegrityError):
        await keys.add(record(name="another"))


async def test_rotation_replaces_the_digest_and_keeps_the_old_one_if_told(keys: KeyRepository) -> None:
    await keys.add(record())
    assert await keys.rotate("abcdefghij", "c" * 64, NOW, None)
    rotated = await keys.find("abcdefghij")
    assert rotated is not None
    assert (rotated.secret_digest, rotated.previous_digest, rotated.rotated_at) == ("c" * 64, None, NOW)

    assert await keys.rotate("abcdefghij", "d" * 64, NOW, NOW + timedelta(minutes=5))
    rotated = await keys.find("abcdefghij")
    assert rotated is not None
    assert (rotated.secret_digest, rotated.previous_digest) == ("d" * 64, "c" * 64)
    assert rotated.previous_valid_until == NOW + timedelta(minutes=5)


async def test_a_revoked_key_stays_revoked_since_then_and_is_not_rotated(keys: KeyRepository) -> None:
    await keys.add(record())
    await keys.revoke("abcdefghij", NOW)
    await keys.revoke("abcdefghij", NOW + timedelta(days=1))
    revoked = await keys.find("abcdefghij")
    assert revoked is not None
    assert revoked.revoked_at == NOW
    assert not await keys.rotate("abcdefghij", "c" * 64, NOW, None)
    assert not await keys.rotate("unknown", "c" * 64, NOW, None)


async def test_a_change_by_somebody_else_is_seen_by_the_next_look(address: str, keys: KeyRepository) -> None:
    other_process = Database(database_url(address))
    others = KeyRepository(other_process)
    for number in range(3):
        await others.add(record(f"key{number}"))
        assert await keys.find(f"key{number}")
        await others.revoke(f"key{number}", NOW)
        found = await keys.find(f"key{number}")
        assert found is not None
        assert found.revoked_at == NOW
    await other_process.close()


async def test_looks_go_on_while_somebody_writes(database: Database, keys: KeyRepository) -> None:
    await keys.add(record())
    async with database.writing() as connection:
        await connection.execute(text("UPDATE api_keys SET name = 'other'"))
        found = await keys.find("abcdefghij")
        assert found is not None
        assert found.name == record().name


async def test_usable_keys_are_neither_revoked_nor_expired(keys: KeyRepository) -> None:
    assert not await keys.any_usable(NOW)
    await keys.add(record("revoked", revoked_at=NOW))
    await keys.add(record("expired", expires_at=NOW))
    assert not await keys.any_usable(NOW)
    await keys.add(record("usable", expires_at=NOW + timedelta(seconds=1)))
    assert await keys.any_usable(NOW)


async def test_usage_adds_up_by_key_model_and_day(usage: UsageRepository) -> None:
    one, two = UsageKey("one", TODAY, "m"), UsageKey("two", TODAY, "m")
    other_model, yesterday = UsageKey("one", TODAY, "n"), UsageKey("one", TODAY - timedelta(days=1), "m")
    amount = Amount(1, 10, 5, 2, 0)
    await usage.add({one: amount, two: amount, other_model: amount, yesterday: amount})
    await usage.add({one: Amount(2, 1, 1, 0, 1)})
    assert await usage.between("one", TODAY - timedelta(days=1), TODAY) == {
        yesterday: amount,
        one: Amount(3, 11, 6, 2, 1),
        other_model: amount,
    }
    assert await usage.tokens_of_day("one", TODAY) == 17 + 15
    assert await usage.tokens_of_day("nobody", TODAY) == 0


async def test_writers_at_once_lose_nothing(usage: UsageRepository) -> None:
    keys = [UsageKey(f"key{number}", TODAY, "m") for number in range(5)]
    orders = [keys, keys[::-1], keys[2:] + keys[:2]]
    await asyncio.gather(
        *(usage.add({key: Amount(requests=1, prompt_tokens=3) for key in order}) for order in orders * 6)
    )
    for key in keys:
        assert await usage.between(key.key_id, TODAY, TODAY) == {key: Amount(18, 54)}


async def test_more_rows_than_one_statement_takes(usage: UsageRepository) -> None:
    many = {UsageKey("key", TODAY, f"model {number}"): Amount(prompt_tokens=1) for number in range(1234)}
    await usage.add(many)
    assert await usage.tokens_of_day("key", TODAY) == 1234


async def test_what_a_transaction_did_is_undone_when_it_fails(
    database: Database, keys: KeyRepository
) -> None:
    async def half() -> None:
        async with database.writing() as connection:
            await connection.execute(text("DELETE FROM api_keys"))
            raise KeyError

    await keys.add(record())
    with pytest.raises(KeyError):
        await half()
    assert await keys.find("abcdefghij")


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_lead_to_the_tables(database: Database) -> None:
    async with database.writing() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(address: str, keys: KeyRepository) -> None:
    await keys.add(record())
    await upgrade(database_url(address))
    assert await keys.find("abcdefghij") == record()


async def test_replicas_that_start_at_once_migrate_once(address: str) -> None:
    await asyncio.gather(*(upgrade(database_url(address)) for _ in range(4)))
    database = Database(database_url(address))
    async with database.reading() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        versions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).all()
    await database.close()
    assert {*metadata.tables, "alembic_version"} == set(names)
    assert len(versions) == 1


async def test_the_ping_takes_some_time(database: Database) -> None:
    assert 0 < await database.ping() < 60


async def test_an_sqlite_file_is_its_owners_and_waits_for_other_writers(tmp_path: Path) -> None:
    database = Database(database_url(f"sqlite:///{tmp_path}/new/folder/x.db"))
    assert stat.S_IMODE((tmp_path / "new/folder/x.db").stat().st_mode) == 0o600
    async with database.reading() as connection:
        for pragma, value in {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 3000}.items():
            assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value
    await database.close()


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"This is no database, and it is long enough to see that." * 20)
    database = Database(database_url(f"sqlite:///{tmp_path}/x.db"))
    with pytest.raises(StorageUnavailable):
        await database.ping()
    with pytest.raises(StorageUnavailable):
        await KeyRepository(database).find("abcdefghij")
    await database.close()


@pytest.mark.parametrize(
    ("address", "result"),
    [
        ("sqlite:///var/x.db", "sqlite+aiosqlite:///var/x.db"),
        ("postgresql://me:secret@db:5433/neo", "postgresql+asyncpg://me:secret@db:5433/neo"),
        ("postgres://db/neo?sslmode=require", "postgresql+asyncpg://db/neo?ssl=require"),
    ],
)
def test_addresses(address: str, result: str) -> None:
    assert database_url(address).render_as_string(hide_password=False) == result


def test_user_and_password_of_their_own_go_first() -> None:
    url = database_url("postgresql://a:b@db/neo", "me", "p@ss:/ word")
    assert (url.username, url.password, url.host) == ("me", "p@ss:/ word", "db")
    assert "p@ss" not in repr(url)


@pytest.mark.parametrize(
    "address",
    ["mysql://u:secret@h/x", "sqlite://", "sqlite:///:memory:", "secret", "://secret", "p://h:secret/x"],
)
def test_an_address_that_cannot_be_used_is_explained_without_its_secrets(address: str) -> None:
    with pytest.raises(DatabaseAddressError, match="DATABASE_URL") as refused:
        database_url(address)
    assert "secret" not in str(refused.value)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_address_is_an_accident(address: str) -> None:
    try:
        url = database_url(address)
    except DatabaseAddressError:
        return
    assert url.drivername in {"sqlite+aiosqlite", "postgresql+asyncpg"}


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_amounts_add_up(day: date) -> None:
    assert sum([Amount(1, 2, 3, 4, 5)] * 3, Amount()) == Amount(3, 6, 9, 12, 15)
    assert Amount(1, 2, 3, 4, 5).tokens == 5
    assert UsageKey("k", day, "m") < UsageKey("k", day, "n")
