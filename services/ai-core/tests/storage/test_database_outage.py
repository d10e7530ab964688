"""PostgreSQL goes away and comes back: one kind of error meanwhile, quickly, and none afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ai_core.errors import StorageUnavailable
from ai_core.storage.database import Database
from servers import PostgresServer
from servicekit.storage.database import PAUSE_SECONDS, database_url

RECOVERY_SECONDS = 5.0
"""What we promise, from the moment at which the server answers again."""


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(database_url(postgres_url))
    await database.ping()
    yield database
    await database.close()


async def fails(database: Database) -> bool:
    try:
        await database.ping()
    except StorageUnavailable:
        return True
    return False


async def until_it_works(database: Database) -> None:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while await fails(database):  # noqa: ASYNC110 - nobody tells us when a server of others is back
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_of_the_server(database: Database, postgres_server: PostgresServer, how: str) -> None:
    await asyncio.gather(*(database.ping() for _ in range(8)))
    await asyncio.to_thread(getattr(postgres_server, how))
    for _ in range(3):
        with pytest.raises(StorageUnavailable) as refused:
            await database.ping()
        assert refused.value.retry_after
        assert str(postgres_server.port) not in refused.value.message
    await asyncio.to_thread(postgres_server.start)
    await until_it_works(database)
    # And it stays that way: no connection of old is left in the pool.
    assert not any(await asyncio.gather(*(fails(database) for _ in range(20))))


async def test_a_server_that_hangs_holds_up_one_caller_and_no_more(
    database: Database, postgres_server: PostgresServer
) -> None:
    await asyncio.to_thread(postgres_server.pause)
    try:
        with pytest.raises(StorageUnavailable):
            await database.ping()
        # From now on, others learn at once for a while; they do not queue behind the dead.
        with pytest.raises(StorageUnavailable):
            async with asyncio.timeout(PAUSE_SECONDS / 2):
                await database.ping()
    finally:
        await asyncio.to_thread(postgres_server.resume)
    await until_it_works(database)


async def test_a_wrong_password_is_an_outage_without_a_word_about_it(
    postgres_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    database = Database(database_url(postgres_url, password="planted-secret"))
    with pytest.raises(StorageUnavailable) as refused:
        await database.ping()
    await database.close()
    assert "planted-secret" not in f"{refused.value} {capfd.readouterr()}"
