"""Calls that were held up do not reach Telegram in a crowd."""

import asyncio
from dataclasses import dataclass, field
from itertools import cycle, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.emulators.telegram.flood import FloodControl

from servicekit.key_value.embedded_limits import EmbeddedLimits
from telegram_service.dialogue.incoming import Place
from telegram_service.formatting.messages import TelegramMessage
from telegram_service.messenger.pacing import Pacer
from telegram_service.messenger.port import Outgoing
from telegram_service.messenger.steady import STRETCH_SECONDS, SteadyMessenger

TEXT = Outgoing(TelegramMessage("oui"))
HELD_UP = st.lists(st.floats(0.0, 2.0), max_size=40)


@dataclass
class Telegram:
    """Refuses what is too much, by a clock that sleeping moves on."""

    now: float = 1_000.0
    flood: FloodControl = field(default_factory=FloodControl)
    calls: int = 0

    async def send(self, place: Place, _outgoing: Outgoing) -> int:
        self.flood.admit(place.chat_id, self.now)
        self.calls += 1
        return self.calls

    async def edit(self, place: Place, _message_id: int, outgoing: Outgoing) -> None:
        await self.send(place, outgoing)

    async def send_file(self, place: Place, _name: str, _content: bytes) -> int:
        return await self.send(place, TEXT)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Deaf:
    """Takes everything."""

    async def send(self, _place: Place, _outgoing: Outgoing) -> int:
        return 1


@given(HELD_UP)
def test_telegram_refuses_nothing_however_calls_were_held_up(pauses: list[float]) -> None:
    telegram = Telegram()
    messenger = SteadyMessenger(telegram, clock=lambda: telegram.now, sleep=telegram.sleep)  # type: ignore[arg-type]

    async def calls() -> None:
        chat = 0
        for pause in [*pauses, 0.0]:
            telegram.now += pause
            # As many as were waiting for the database: each in a chat of its own.
            for _ in range(16):
                chat += 1
                place = Place(chat)
                if chat % 3 == 0:
                    await messenger.edit(place, 1, TEXT)
                elif chat % 3 == 1:
                    await messenger.send(place, TEXT)
                else:
                    await messenger.send_file(place, "export.json", b"{}")

    asyncio.run(calls())
    assert telegram.flood.refused == 0
    assert telegram.calls == 16 * (len(pauses) + 1)


def test_who_waits_leaves_one_after_the_other_and_nobody_waits_without_need() -> None:
    telegram, left = Telegram(), list[float]()
    messenger = SteadyMessenger(Deaf(), clock=lambda: telegram.now, sleep=telegram.sleep)  # type: ignore[arg-type]

    async def calls() -> None:
        for number in range(32):
            await messenger.send(Place(1), TEXT)
            left.append(telegram.now)
            telegram.now += 0.01 if number < 28 else 0.0

    asyncio.run(calls())
    at_once, waited = left[:29], left[29:]
    assert all(later - sooner < 0.02 for sooner, later in pairwise(at_once))
    # Each follows one of those that left first.
    assert waited == pytest.approx([sooner + STRETCH_SECONDS for sooner in at_once[:3]])


@given(st.lists(st.floats(0.0, 0.3), min_size=60, max_size=80))
def test_a_wait_that_lasts_too_long_crowds_nobody_behind_it(late: list[float]) -> None:
    """All wait at the same time, and each wakes up late."""
    telegram, left, sleepers = Telegram(), list[float](), list[tuple[float, asyncio.Future[None]]]()
    lateness = cycle(late)

    async def sleep(seconds: float) -> None:
        waking = asyncio.get_running_loop().create_future()
        sleepers.append((telegram.now + seconds + next(lateness), waking))
        await waking

    messenger = SteadyMessenger(Deaf(), clock=lambda: telegram.now, sleep=sleep)  # type: ignore[arg-type]

    async def call() -> None:
        await messenger.send(Place(1), TEXT)
        left.append(telegram.now)

    async def calls() -> None:
        tasks = [asyncio.create_task(call()) for _ in late]
        while len(left) < len(late):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if sleepers:
                sleepers.sort(key=lambda one: one[0])
                at, waking = sleepers.pop(0)
                telegram.now = max(telegram.now, at)
                waking.set_result(None)
        await asyncio.gather(*tasks)

    asyncio.run(calls())
    assert all(
        later - sooner >= STRETCH_SECONDS - 1e-6 for sooner, later in zip(left, left[29:], strict=False)
    )


async def test_who_waits_for_their_turn_waits_before_their_message_is_announced_and_not_here() -> None:
    """However long there is too much to send."""
    telegram, waits = Telegram(), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        telegram.now += seconds

    pacer = Pacer(EmbeddedLimits(lambda: telegram.now))
    messenger = SteadyMessenger(telegram, clock=lambda: telegram.now, sleep=sleep)  # type: ignore[arg-type]
    for chat in range(1, 601):
        telegram.now += await pacer.overall(5.0)
        await messenger.send(Place(chat), TEXT)
    assert waits == []
    assert telegram.flood.refused == 0
