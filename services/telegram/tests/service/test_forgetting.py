"""Somebody talks, takes their data away, and wants to be forgotten: then nothing of them is left, and what
others said is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import MetaData
from tests.emulators.telegram.world import Chat, Person

from ai_core_service import Server, running
from servicekit.storage.database import Database, database_url
from servicekit.storage.sealing import PlainSeal
from telegram_house import Guest, House, open_house

ID, NAME = 7_359_124_680, "Zénobie Quatrefages"
GROUP = Chat(-1_001, "supergroup", "Le bureau")
WORDS = ("mon-mot-secret", "notre-mot-secret", "bail-secret", "dit-tout-bas")
PSEUDONYMS = tuple(PlainSeal().name(kind, str(ID).encode()) for kind in (b"person", b"chat"))


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running(ENGINE_BACKEND="scripted", MODEL_NAME="scripted") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(
    request: pytest.FixtureRequest, core: Server, tmp_path: Path, redis_url: str
) -> AsyncIterator[House]:
    url = f"sqlite:///{tmp_path}/telegram.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    # Nothing is sealed here: what is stored can be searched.
    settings = {"SECRET_KEY": "", "TELEGRAM_DATABASE_URL": url, "REDIS_URL": redis_url}
    async with open_house(core, tmp_path, **settings) as opened:
        opened.telegram.world.add_group(GROUP)
        yield opened


async def talk(house: House, zenobie: Guest, other: Guest) -> None:
    """Private, in a group, a document, settings."""
    world, delivery = house.telegram.world, house.telegram.delivery
    zenobie.say(WORDS[0])
    await zenobie.hears()
    zenobie.give(f"{WORDS[2]}.txt", WORDS[2].encode(), caption="Combien ?")
    await zenobie.hears()
    zenobie.say("/settings")
    await house.until(zenobie.shown)
    zenobie.press("length:short")
    asked = world.say(zenobie.person, GROUP.id, text=f"@neo_test_bot {WORDS[1]}")["message"]
    reply = "@neo_test_bot la parole d'une autre"
    world.say(other.person, GROUP.id, text=reply, reply_to_message=asked)
    world.say(zenobie.person, GROUP.id, text=f"@neo_test_bot {WORDS[3]}")
    delivery.announce()
    await house.until(lambda: len(world.from_bot(GROUP.id)) == 3)
    world.clear(zenobie.person.id)


async def test_who_wants_to_be_forgotten_leaves_nothing_behind(house: House) -> None:
    world = house.telegram.world
    zenobie, other = Guest(house, world.add_person(Person(ID, NAME, "fr", "zenobie_q"))), house.guest()
    await talk(house, zenobie, other)
    zenobie.say("/export")
    await house.until(lambda: world.from_bot(ID))
    document = world.from_bot(ID)[-1].fields["document"]
    export = json.loads(world.files.by_id[document["file_id"]].content)
    text = json.dumps(export, ensure_ascii=False)
    assert [word for word in (str(ID), *WORDS) if word not in text] == []
    assert export["person"]["settings"]["length"] == "short"
    assert export["counters"]["tokens_today"] > 0
    assert "autre" not in text

    before = await everything(house)
    assert [word for word in (str(ID), *WORDS, PSEUDONYMS[0]) if word not in before] == []

    world.clear(ID)
    zenobie.say("/forget")
    await house.until(zenobie.shown)
    zenobie.press("forget:yes")
    await house.until(lambda: zenobie.shown()[-1].startswith("C'est fait"))
    async with asyncio.timeout(60):
        # The wish itself is deleted last, just after they were told.
        while str(ID) in await everything(house):  # noqa: ASYNC110 — another process deletes it
            await asyncio.sleep(0.1)
    after = await everything(house)
    assert [word for word in (NAME, "zenobie_q", *WORDS, *PSEUDONYMS) if word in after] == []
    assert "la parole d'une autre" in after
    world.clear(ID)
    zenobie.say("bonjour")
    assert (await zenobie.hears())[-1] == "bonjour"


async def everything(house: House) -> str:
    """All that is in the database, in Redis, in the files of the service, and in its log."""
    in_redis = await asyncio.to_thread(_in_redis, house.settings["REDIS_URL"])
    return "\n".join([await _in_database(house), in_redis, _in_files(house.folder), _logged(house)])


async def _in_database(house: House) -> str:
    database = Database(database_url(house.settings["TELEGRAM_DATABASE_URL"]))
    tables = MetaData()
    try:
        async with database.reading() as connection:
            await connection.run_sync(tables.reflect)
            rows = [
                row
                for table in tables.tables.values()
                for row in (await connection.execute(table.select())).all()
            ]
            return "\n".join(_shown(value) for row in rows for value in row)
    finally:
        await database.close()


def _shown(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _in_redis(url: str) -> str:
    readers = {
        b"string": "get",
        b"hash": "hgetall",
        b"list": "lrange 0 -1",
        b"set": "smembers",
        b"zset": "zrange 0 -1",
    }
    found = []
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            command, *arguments = readers[redis.type(key)].split()
            found += [key.decode(), str(redis.execute_command(command, key, *arguments))]
    return "\n".join(found)


def _in_files(folder: Path) -> str:
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    # SQLite stores a number of this size in six bytes.
    numbers = str(ID) if ID.to_bytes(6, "big") in content else ""
    return content.decode(errors="replace") + numbers


def _logged(house: House) -> str:
    return b"".join(house.log).decode()
