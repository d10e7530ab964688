"""Whoever sends too much is told so once, in their language; nothing of it waits, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import select

from scripted_core import Answers, ScriptedCore, scripted_core
from servers import RedisServer
from servicekit.journal.records import EntryState
from servicekit.storage.database import Database, database_url
from telegram_house import PATIENCE, Guest, House, open_house
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.storage.tables import journal

pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")

PER_MINUTE = 4
TOKENS_PER_DAY = 1_000


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


@module_fixture
async def core() -> AsyncIterator[ScriptedCore]:
    async with scripted_core() as core:
        yield core


@module_fixture
async def house(core: ScriptedCore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    limits = {"MAX_MESSAGES_PER_MINUTE": f"{PER_MINUTE}", "MAX_TOKENS_PER_DAY": f"{TOKENS_PER_DAY}"}
    async with open_house(core, tmp_path_factory.mktemp("house"), **limits) as opened:
        yield opened


@module_fixture
async def house_with_redis(
    core: ScriptedCore, tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> AsyncIterator[House]:
    async with open_house(core, tmp_path_factory.mktemp("house"), REDIS_URL=redis.url) as opened:
        yield opened


async def fates(house: House, count: int) -> list[tuple[str, str]]:
    """State and reason of the last messages, once each has come to its end."""
    numbers = [str(update["update_id"]) for update in house.telegram.world.updates[-count:]]
    database = Database(database_url(f"sqlite:///{house.folder}/telegram.db"))
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                async with database.reading() as connection:
                    rows = (await connection.execute(select(journal.entries))).mappings().all()
                ends = {row["key"]: (row["state"], row["reason"]) for row in rows if row["closed_at"]}
                if ends.keys() >= set(numbers):
                    return [ends[number] for number in numbers]
                await asyncio.sleep(0.02)
    finally:
        await database.close()


@pytest.mark.parametrize("language", Language)
async def test_a_flood_is_answered_as_far_as_allowed_told_once_and_recorded(
    house: House, core: ScriptedCore, language: Language
) -> None:
    flooder, other = house.guest(language), house.guest()
    for number in range(9):
        flooder.say(f"{language} {number}")
    slow_down = phrase(Phrase.SLOW_DOWN, language, seconds=15)
    answers = [f"{language} {number}" for number in range(PER_MINUTE)]
    assert sorted(await flooder.hears(PER_MINUTE + 1)) == sorted([*answers, slow_down])
    updates = house.telegram.world.updates[-9:]
    recorded = await fates(house, 9)
    assert recorded[: PER_MINUTE + 1] == [(EntryState.DONE, "")] * (PER_MINUTE + 1)
    assert recorded[PER_MINUTE + 1 :] == [(EntryState.DONE, "refused: messages")] * (9 - PER_MINUTE - 1)
    other.say("et moi ?")
    assert await other.hears() == ["et moi ?"]

    # Telegram brings some of them again, as after a lost acknowledgement: nothing is said or done once more.
    for update in updates:
        assert (await house.post(json.dumps(update).encode())).status_code == 200
    assert flooder.shown() == []

    # What stops an answer, and what is said about one's data, is not shut out by one's own questions.
    flooder.say("/privacy")
    assert len(await flooder.hears()) == 1


async def test_a_days_tokens_are_counted_and_their_end_is_told_once(house: House, core: ScriptedCore) -> None:
    guest = house.guest("en")
    core.on("expensive", Answers("That was long.", tokens=TOKENS_PER_DAY))
    guest.say("expensive")
    assert await guest.hears() == ["That was long."]
    guest.say("one more")
    guest.say("and more")
    guest.say("/help")
    first, second = await guest.hears(2)
    assert {first.split(".")[0], second.split(".")[0]} == {
        "You have used what there is for today",
        phrase(Phrase.HELP, Language.ENGLISH).split(".")[0],
    }
    assert core.times("one more") == core.times("and more") == []
    assert await fates(house, 3) == [
        (EntryState.DONE, ""),
        (EntryState.DONE, "refused: tokens"),
        (EntryState.DONE, ""),
    ]


async def test_keys_in_redis_name_nobody_and_go_with_those_who_are_forgotten(
    house_with_redis: House, redis: RedisServer
) -> None:
    guest = house_with_redis.guest()
    mine: set[str] = set()
    # A machine on which Redis does not answer at once is one where each process counts by itself.
    while not {key.split(":", 5)[-1] for key in mine} >= {"rate_limit", "pace"}:
        guest.say("bonjour")
        await guest.hears()
        mine = {key for key in await keys(redis) if "user:" in key or "chat:" in key}
    pseudonyms = {key.split(":")[4] for key in mine}
    assert all(len(pseudonym) == 64 for pseudonym in pseudonyms)
    guest.say("/forget")
    await guest.house.until(guest.shown)
    guest.press("forget:yes")
    forgotten = phrase(Phrase.FORGOTTEN, Language.FRENCH)
    await guest.house.until(lambda: guest.shown() == [forgotten])
    # The message is shown, and then everything goes: the key of the press itself included.
    async with asyncio.timeout(PATIENCE):
        while True:
            left = await keys(redis)
            if not any(pseudonym in key for key in left for pseudonym in pseudonyms):
                break
            await asyncio.sleep(0.02)


async def test_nobody_is_silenced_because_redis_is_away_and_that_is_counted(
    house_with_redis: House, redis: RedisServer
) -> None:
    guest: Guest = house_with_redis.guest()
    await asyncio.to_thread(redis.stop)
    try:
        guest.say("encore là ?")
        assert await guest.hears() == ["encore là ?"]
        page = (await house_with_redis.http.get("/metrics")).text
        (line,) = [
            line for line in page.splitlines() if line.startswith("neo_telegram_limiter_unavailable_total")
        ]
        assert float(line.split()[-1]) > 0
        health = await house_with_redis.http.get("/health")
        assert health.status_code == 200
        assert health.json()["status"] == "degraded"
        assert health.json()["parts"]["redis"]["status"] == "down"
        assert (await house_with_redis.http.get("/readyz")).status_code == 200
    finally:
        await asyncio.to_thread(redis.start)


async def keys(redis: RedisServer) -> set[str]:
    client = Redis.from_url(redis.url, decode_responses=True)
    try:
        return {str(key) for key in await client.keys("*")}
    finally:
        await client.aclose()
