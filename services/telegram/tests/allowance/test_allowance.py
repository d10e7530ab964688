"""Who may send how much: told once, then silence, then all is well again. What comes twice counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.limits import Limits
from servicekit.key_value.redis_connection import RedisConnection
from servicekit.key_value.redis_limits import RedisLimits
from servicekit.storage.sealing import SecretSeal
from telegram_service.allowance import RELIEF_SECONDS, Allowance, Refused, Rules
from telegram_service.dialogue.incoming import (
    Commanded,
    Content,
    Incoming,
    Joined,
    Language,
    Left,
    Place,
    Pressed,
    Said,
    Sender,
)
from telegram_service.dialogue.refusal import Limit
from telegram_service.hot_keys import HotKeys

KEYS = HotKeys(SecretSeal(b"secret of the tests", "telegram"))
RULES = Rules(messages_per_minute=6, overall_per_minute=20, tokens_per_day=1_000)
ANNE, PAUL = 42, 43
HI = Said("bonjour", 1)
STOP = Commanded("stop", "", 1)


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Door:
    """Where messages come in."""

    limits: Limits
    clock: Clock
    rules: Rules = RULES
    allowance: Allowance = field(init=False)
    number: int = 0

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.limits, KEYS, self.rules, self.clock)

    def message(self, person: int = ANNE, content: Content = HI) -> Incoming:
        self.number += 1
        return Incoming(self.number, Place(person), Sender(person, Language.FRENCH), content)

    async def comes(self, person: int = ANNE, content: Content = HI) -> Refused | None:
        return await self.allowance.admit(self.message(person, content))

    async def fates(self, times: int, person: int = ANNE, content: Content = HI) -> str:
        """A letter for each message: admitted, told, or passed over in silence."""
        return "".join([fate(await self.comes(person, content)) for _ in range(times)])


def fate(refused: Refused | None) -> str:
    if refused is None:
        return "a"
    return "t" if refused.tell else "s"


@pytest.fixture(params=["embedded", "redis"])
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    clock = Clock()
    if request.param == "embedded":
        yield Door(EmbeddedLimits(clock.seconds), clock)
        return
    connection = RedisConnection(request.getfixturevalue("redis_url"), timeout=20)
    limits = RedisLimits(connection, clock=clock.seconds)
    try:
        yield Door(limits, clock)
    finally:
        await limits.close()
        await connection.close()


async def test_a_flood_is_told_once_and_passed_over_until_the_time_that_was_said(door: Door) -> None:
    assert await door.fates(6) == "aaaaaa"
    refused = await door.comes()
    assert refused is not None
    assert refused.tell
    assert (refused.refusal.limit, refused.refusal.seconds) == (Limit.MESSAGES, RELIEF_SECONDS)
    assert await door.fates(30) == "s" * 30
    door.clock.turn(RELIEF_SECONDS - 1)
    assert await door.fates(1) == "s"
    door.clock.turn(1.01)
    # A quarter of a minute has passed, so a quarter of its messages are there again; whole ones count.
    assert await door.fates(3) == "ats"


async def test_who_waits_a_minute_has_all_of_it_again(door: Door) -> None:
    await door.fates(20)
    door.clock.turn(61)
    assert await door.fates(7) == "aaaaaat"


async def test_others_are_not_concerned(door: Door) -> None:
    await door.fates(9)
    assert await door.fates(1, PAUL) == "a"


async def test_who_is_over_the_limit_can_still_stop_what_runs_but_not_flood_with_that_either(
    door: Door,
) -> None:
    await door.fates(20)
    assert await door.fates(8, content=STOP) == "aaaaaats"
    assert await door.fates(1, content=Pressed("q", 1, "length:short")) == "s"


async def test_being_blocked_and_unblocked_is_no_message(door: Door) -> None:
    await door.fates(20)
    assert await door.fates(1, content=Left()) == "a"
    assert await door.fates(1, content=Joined()) == "a"


async def test_all_together_have_a_limit_too_and_each_is_told_once(door: Door) -> None:
    people = range(100, 120)
    assert "".join([await door.fates(1, person) for person in people]) == "a" * 20
    refused = await door.comes(ANNE)
    assert refused is not None
    assert (refused.refusal.limit, refused.tell) == (Limit.OVERALL, True)
    assert await door.fates(1, PAUL) == "t"
    assert await door.fates(3, ANNE) == "sss"
    door.clock.turn(RELIEF_SECONDS + 0.01)
    assert await door.fates(1, ANNE) == "a"


async def test_one_who_floods_takes_nothing_from_the_others(door: Door) -> None:
    await door.fates(500, ANNE)
    fates = "".join([await door.fates(1, person) for person in range(100, 115)])
    assert fates == "a" * 14 + "t"


async def test_answers_of_a_day_cost_tokens_and_midnight_gives_new_ones(door: Door) -> None:
    await door.allowance.charge(ANNE, "entry 1", 600)
    # Answered again after a crash: the same entry, and it counts once.
    await door.allowance.charge(ANNE, "entry 1", 700)
    assert await door.fates(1) == "a"
    await door.allowance.charge(ANNE, "entry 2", 300)
    refused = await door.comes()
    assert refused is not None
    assert (refused.refusal.limit, refused.refusal.seconds, refused.tell) == (Limit.TOKENS, 7_200, True)
    assert await door.fates(2) == "ss"
    assert await door.fates(1, PAUL) == "a"
    # Commands cost nothing.
    assert await door.fates(1, content=STOP) == "a"
    door.clock.turn(2 * 3_600 + 1)
    assert await door.fates(1) == "a"


async def test_a_message_that_comes_again_is_decided_as_before_and_charged_once(door: Door) -> None:
    messages = [door.message() for _ in range(8)]
    first = "".join([fate(await door.allowance.admit(message)) for message in messages])
    assert first == "aaaaaats"
    door.clock.turn(30)
    assert "".join([fate(await door.allowance.admit(message)) for message in messages]) == first
    assert await door.fates(4) == "aaat"


async def test_who_is_forgotten_leaves_nothing(door: Door) -> None:
    await door.fates(20)
    await door.fates(20, content=STOP)
    await door.allowance.charge(ANNE, "entry", 2_000)
    await door.allowance.forget(ANNE)
    assert await door.fates(1) == "a"
    assert await door.fates(1, content=STOP) == "a"


async def test_no_limits_are_no_limits() -> None:
    door = Door(EmbeddedLimits((clock := Clock()).seconds), clock, Rules())
    await door.allowance.charge(ANNE, "entry", 10**9)
    assert await door.fates(200) == "a" * 200


@given(waits=st.lists(st.floats(0, 30), max_size=60))
async def test_nobody_is_silenced_without_having_been_told(waits: list[float]) -> None:
    door = Door(EmbeddedLimits((clock := Clock()).seconds), clock, Rules(messages_per_minute=6))
    told_until: datetime | None = None
    for wait in waits:
        clock.turn(wait)
        refused = await door.comes()
        if refused is None:
            assert told_until is None or clock.now >= told_until - timedelta(milliseconds=1)
        elif refused.tell:
            told_until = clock.now + timedelta(seconds=refused.refusal.seconds)
        else:
            assert told_until is not None
            assert clock.now < told_until


def test_keys_tell_people_apart_and_nothing_about_them() -> None:
    today = datetime(2026, 3, 1, tzinfo=UTC).date()
    one, other = 987_654_321_012, 987_654_321_013
    keys = KEYS.limits_of_person(one, today)
    assert len({*keys, *KEYS.limits_of_person(other, today)}) == 2 * len(keys)
    assert not any(str(one) in key for key in keys)
