"""The composition root: settings become resources, and resources a service that runs until a signal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from prometheus_client import CollectorRegistry
from telegram import Bot, BotCommand
from telegram.error import TelegramError

from servicekit.ai_core.client import AiCore
from servicekit.documents.extractor import ConfinedExtractor
from servicekit.documents.programs import missing
from servicekit.hot_state import HotState
from servicekit.journal.crew import Crew
from servicekit.journal.gate import Gate
from servicekit.journal.journal import Journal, now_in_utc
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry
from servicekit.logging import get_logger
from servicekit.serving.health import Check, Health
from servicekit.serving.http import serving
from servicekit.serving.lifetime import Lifetime, until_signal
from servicekit.storage.database import Database, StorageUnavailable
from telegram_service.answering.administering import Administration
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.envelopes import Envelopes
from telegram_service.answering.files import Files
from telegram_service.answering.handling import Handler
from telegram_service.answering.performing import Performer
from telegram_service.answering.personal_data import PersonalData
from telegram_service.answering.tools import Tools
from telegram_service.answering.writing import Writer
from telegram_service.broadcasting import LEASE_SECONDS as BROADCAST_LEASE
from telegram_service.broadcasting import Broadcaster
from telegram_service.config import Settings
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.phrases import commands
from telegram_service.hot_keys import HotKeys
from telegram_service.intake import Intake
from telegram_service.looking import look_at_webhook
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.messenger.measured import MeasuredMessenger
from telegram_service.messenger.pacing import OVERALL_PER_SECOND, Pacer
from telegram_service.messenger.steady import SteadyMessenger
from telegram_service.metrics import Metrics, Page
from telegram_service.polling import ALLOWED_UPDATES, poll
from telegram_service.resources import (
    ai_core_of,
    allowance_of,
    bot_of,
    database_of,
    document_limits_of,
    hot_state_of,
    migrate,
    policy_of,
    seal_of,
)
from telegram_service.storage.broadcasts import Broadcasts
from telegram_service.storage.conversations import Conversations
from telegram_service.storage.people import People
from telegram_service.storage.tables import journal as journal_tables
from telegram_service.web import WEBHOOK_PATH, Door, create_web

HOUSEKEEPING_SECONDS = 3_600.0
BEGUN_PER_SECOND = OVERALL_PER_SECOND + 4
"""Lanes, while messages come in: a few more than answers may go out."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attic:
    """Where things are kept that are deleted when they are old."""

    ledger: Ledger
    conversations: Conversations
    broadcasts: Broadcasts
    people: People
    database: Database

    async def clean(self, before: datetime) -> dict[str, int]:
        """Delete what is from before a moment; returns how much. Raises StorageUnavailable."""
        return {
            "turns": await self.conversations.clean(before),
            "entries": await self.ledger.clean(before),
            "broadcasts": await self.broadcasts.clean(before),
            "people": await self.people.clean(before),
        }


@dataclass(frozen=True, slots=True)
class Service:
    """What runs."""

    bot: Bot
    crew: Crew
    intake: Intake
    door: Door
    broadcaster: Broadcaster
    attic: Attic
    metrics: Metrics


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Everything up over a migrated database. Raises telegram.error.TelegramError if Telegram refuses the
    token or cannot be reached."""
    async with AsyncExitStack() as stack:
        database = database_of(settings)
        stack.push_async_callback(database.close)
        bot = await stack.enter_async_context(bot_of(settings))
        ai_core = await stack.enter_async_context(ai_core_of(settings))
        metrics = Metrics(CollectorRegistry())
        hot = await stack.enter_async_context(hot_state_of(settings, bot.id, metrics.limiter_failed))
        yield assemble(settings, database, bot, ai_core, hot, metrics)


def assemble(
    settings: Settings, database: Database, bot: Bot, ai_core: AiCore, hot: HotState, metrics: Metrics
) -> Service:
    """The service over what it needs from outside. ``bot`` is initialized."""
    seal = seal_of(settings)
    envelopes, allowance = Envelopes(seal), allowance_of(settings, hot.limits, seal)
    journal, ledger = Journal(database, journal_tables, has_urgent=False), Ledger(database, journal_tables)
    timeout = timedelta(seconds=settings.session_timeout)
    conversations = Conversations(database, seal, now_in_utc, session_timeout=timeout)
    people, broadcasts = People(database, now_in_utc), Broadcasts(database, now_in_utc)
    messenger = MeasuredMessenger(SteadyMessenger(BotApiMessenger(bot)), metrics)
    personal_data = PersonalData(database, people, conversations, broadcasts, ledger, envelopes, allowance)
    pacer = Pacer(hot.limits, HotKeys(seal))
    deliverer = Deliverer(messenger, envelopes, pacer, export=personal_data.export)
    tools = Tools(
        writer=Writer(ai_core, messenger, deliverer, on_first_text=partial(_first_text, metrics)),
        deliverer=deliverer,
        performer=Performer(
            ai_core=ai_core,
            messenger=messenger,
            deliverer=deliverer,
            people=people,
            conversations=conversations,
            administration=Administration(
                people=people,
                broadcasts=broadcasts,
                ledger=ledger,
                deliverer=deliverer,
                envelopes=envelopes,
                clock=now_in_utc,
                allowed=settings.allowed_users,
            ),
            personal_data=personal_data,
            journal=journal,
            ledger=ledger,
            default_model=settings.default_model,
        ),
        envelopes=envelopes,
        people=people,
        conversations=conversations,
        ledger=ledger,
        files=Files(
            messenger,
            ConfinedExtractor(document_limits_of(settings)),
            ai_core,
            settings.max_file_size,
            settings.max_document_characters,
        ),
        seal=seal,
        allowance=allowance,
        metrics=metrics,
    )
    me = (bot.id, bot.username)
    handler = Handler(policy_of(settings), tools, bot_id=me[0], bot_name=me[1], clock=now_in_utc)
    gate = Gate(BEGUN_PER_SECOND)
    crew = Crew(journal, handler.handle, hot.wakeups, workers=settings.workers, gate=gate)
    intake = Intake(
        journal,
        envelopes,
        hot.wakeups,
        bot_id=me[0],
        bot_name=me[1],
        clock=now_in_utc,
        allowance=allowance,
        metrics=metrics,
    )
    checks: dict[str, Check] = {
        "database": database.ping,
        "ai_core": ai_core.ping,
        "telegram": partial(_ping, bot),
    }
    if hot.ping is not None:
        checks["redis"] = hot.ping
    page = Page(metrics, ledger, people, now_in_utc)
    door = Door(intake, _secret(settings), Health(checks, {"database"}), page.render, gate)
    broadcaster = Broadcaster(
        journal=Journal(database, journal_tables, lease_seconds=BROADCAST_LEASE),
        broadcasts=broadcasts,
        people=people,
        messenger=messenger,
        deliverer=deliverer,
        envelopes=envelopes,
    )
    attic = Attic(ledger, conversations, broadcasts, people, database)
    return Service(bot, crew, intake, door, broadcaster, attic, metrics)


def _secret(settings: Settings) -> str | None:
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return settings.webhook_secret.get_secret_value()


def _first_text(metrics: Metrics, entry: Entry) -> None:
    metrics.shown(entry.id, (now_in_utc() - entry.received_at).total_seconds())


async def _ping(bot: Bot) -> float:
    began = time.perf_counter()
    await bot.get_me()
    return time.perf_counter() - began


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; lanes are given back before this returns."""
    await migrate(settings)
    async with until_signal() as lifetime, open_service(settings) as service, _door_of(settings, service):
        await _introduce(service.bot)
        for lack in await asyncio.to_thread(missing):
            log.warning("not installed", for_want_of_it_no=lack)
        service.crew.start()
        try:
            async with (
                _receiving(settings, service, lifetime),
                lifetime.background(keep_house(settings, service)),
                lifetime.background(service.broadcaster.run()),
            ):
                log.info("serving", bot=service.bot.username, webhook=settings.webhook_url is not None)
                await lifetime.wait()
        finally:
            # Also where one of them has failed: lanes that are not given back stand still for half a minute.
            log.info("draining")
            await service.crew.stop(settings.drain_timeout)


def _door_of(settings: Settings, service: Service) -> AbstractAsyncContextManager[int]:
    return serving(create_web(service.door), settings.telegram_host, settings.telegram_port)


async def _introduce(bot: Bot) -> None:
    """The bot's menu, in each language; French for all others."""
    menus = {language: [BotCommand(*one) for one in commands(language).items()] for language in Language}
    try:
        for language, menu in menus.items():
            await bot.set_my_commands(menu, language_code=language.value)
        await bot.set_my_commands(menus[Language.FRENCH])
    except TelegramError as error:
        log.warning("menu not set", reason=type(error).__name__)


@asynccontextmanager
async def _receiving(settings: Settings, service: Service, lifetime: Lifetime) -> AsyncIterator[None]:
    if settings.webhook_url is not None:
        await service.bot.set_webhook(
            settings.webhook_url + WEBHOOK_PATH,
            secret_token=service.door.secret,
            allowed_updates=ALLOWED_UPDATES,
        )
        async with lifetime.background(look_at_webhook(service.bot, service.metrics)):
            yield
        return
    await service.bot.delete_webhook()
    async with lifetime.background(poll(service.bot, service.intake, service.metrics.called)):
        yield


async def keep_house(settings: Settings, service: Service) -> None:
    """Delete what is older than RETENTION_DAYS, now and every hour, until cancelled."""
    while True:
        before = now_in_utc() - timedelta(days=settings.retention_days)
        try:
            log.info("old messages deleted", **await service.attic.clean(before))
            # Also of what was forgotten while the database had no time for it.
            await service.attic.database.scrub()
        except StorageUnavailable:
            log.warning("traces of old messages are left", reason="the database is away or busy")
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
