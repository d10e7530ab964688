"""The metrics tell when Telegram's calls do not reach us, and when ours do not reach Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry
from telegram import Bot
from tests.emulators.telegram.world import Person

from ports import free_port
from servers import PATIENCE
from telegram_server import telegram_server
from telegram_service import polling
from telegram_service.looking import look_at_webhook
from telegram_service.metrics import Metrics
from telegram_service.polling import poll

ANNE = Person(42, "Anne", "fr")


class Page:
    """What a service's page would show."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"neo_telegram_{name}", labels)
        assert found is not None
        return found

    def calls(self, call: str, outcome: str) -> float:
        return self.value("calls_total", call=call, outcome=outcome)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - nothing tells of it but the numbers
            await asyncio.sleep(0.01)


def elsewhere() -> Bot:
    """A bot whose Telegram is away."""
    return Bot("7000000:test-token", base_url=f"http://127.0.0.1:{free_port()}/bot")


async def test_a_webhook_that_telegram_cannot_call_is_seen_and_so_is_that_it_can_again() -> None:
    page = Page()
    async with telegram_server() as server, server.bot() as bot:
        anne = server.world.add_person(ANNE)
        await bot.set_webhook(f"http://127.0.0.1:{free_port()}/telegram/webhook")
        async with running(look_at_webhook(bot, page.metrics, every=0.02)):
            await until(lambda: page.calls("get_webhook_info", "ok") > 0)
            assert page.value("webhook_pending_updates") == 0
            assert page.value("webhook_last_error_timestamp_seconds") == 0
            server.world.say(anne, text="bonjour")
            server.delivery.announce()
            await until(lambda: page.value("webhook_last_error_timestamp_seconds") > 0)
            assert page.value("webhook_pending_updates") == 1
            await bot.delete_webhook(drop_pending_updates=True)
            await until(lambda: page.value("webhook_last_error_timestamp_seconds") == 0)


async def test_telegram_being_away_is_counted_though_nobody_writes() -> None:
    page, bot = Page(), elsewhere()
    async with running(look_at_webhook(bot, page.metrics, every=0.02)):
        await until(lambda: page.calls("get_webhook_info", "not_sent") > 1)
    assert page.calls("get_webhook_info", "ok") == 0


async def test_asking_for_updates_in_vain_is_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(polling, "FIRST_WAIT_SECONDS", 0.02)
    page, bot = Page(), elsewhere()
    async with running(poll(bot, None, page.metrics.called)):  # type: ignore[arg-type]
        await until(lambda: page.calls("get_updates", "not_sent") > 1)
    assert page.calls("get_updates", "ok") == 0


def test_an_apology_is_seen_by_prometheus_from_the_first() -> None:
    assert Page().value("errors_total", kind="no_answer") == 0
