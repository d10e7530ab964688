"""The composition root: settings become resources, and resources a service that runs until a signal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx

from mail_service.accounts import Account, accounts_of
from mail_service.admin.office import Office
from mail_service.answering.answers import Answerer, Sources
from mail_service.answering.delivering import Deliverer
from mail_service.answering.handling import Handler, Tools
from mail_service.answering.judging import Examiners, Judge
from mail_service.answering.notices import Notices
from mail_service.answering.replying import Replier
from mail_service.composing.brand import load_brand
from mail_service.composing.letterhead import Letterhead
from mail_service.composing.message import Composer
from mail_service.config import Settings
from mail_service.connecting import Post, connect
from mail_service.deciding.decide import is_urgent
from mail_service.deciding.facts import Rules
from mail_service.intake import Archive, Intake
from mail_service.manners import manner_of, signer_of
from mail_service.metrics import Metrics
from mail_service.records import Records, migrate, open_records
from mail_service.scanning.clamd import Clamd
from mail_service.scanning.port import NoScanner, Scanner
from mail_service.scanning.rspamd import Rspamd
from mail_service.scanning.spamd import Spamd
from mail_service.sending.port import Access, Outlet
from mail_service.verifying.resolver import DnsResolver, Resolver
from mail_service.verifying.verify import Verifier
from mail_service.watching import Watcher
from mail_service.web import checks_of, create_web
from servicekit.ai_core.client import AiCore, key_in
from servicekit.documents.extractor import ConfinedExtractor
from servicekit.documents.port import Limits as DocumentLimits
from servicekit.hot_state import HotState, open_hot_state
from servicekit.journal.crew import Crew
from servicekit.journal.journal import now_in_utc
from servicekit.logging import get_logger
from servicekit.serving.health import Health
from servicekit.serving.http import serving
from servicekit.serving.lifetime import Lifetime, until_signal
from servicekit.storage.database import StorageUnavailable

HOUSEKEEPING_SECONDS = 3_600.0
LOOK_SECONDS = 120.0
REFUSED_LOOK_SECONDS = 300.0
"""Servers lock out who asks often with a wrong password."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What runs."""

    records: Records
    post: Post
    crew: Crew
    watchers: tuple[Watcher, ...]
    office: Office
    health: Health
    metrics: Metrics


def ai_core_of(settings: Settings) -> AiCore:
    """The AI core, with the key of the settings or that of a core on this machine."""
    given = settings.ai_api_key
    key = given.get_secret_value() if given is not None else key_in(settings.local_key_path)
    return AiCore(settings.ai_api_url, key, ca_file=settings.ai_api_ca_file)


@asynccontextmanager
async def open_service(settings: Settings, *, resolver: Resolver | None = None) -> AsyncIterator[Service]:
    """Everything up over a migrated database.

    Args:
        resolver: asks name servers; None: those of this machine.

    Raises:
        SettingsError, BrandError, PromptError, SigningError: what is configured cannot be used.
        As :func:`open_records`.
    """
    accounts = accounts_of(settings)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        records = await stack.enter_async_context(open_records(settings))
        ai_core = await stack.enter_async_context(ai_core_of(settings))
        hot = await stack.enter_async_context(hot_state_of(settings))
        post = connect(accounts, http, max_bytes=settings.max_email_size)
        stack.push_async_callback(post.close)
        examiners = Examiners(
            prover=Verifier(resolver or DnsResolver(), settings.authserv_id),
            spam=spam_scanner_of(settings, http),
            virus=Clamd(settings.clamd_address) if settings.clamd_address else NoScanner(),
        )
        yield assemble(settings, accounts, records, post, ai_core, hot, examiners)


@asynccontextmanager
async def hot_state_of(settings: Settings) -> AsyncIterator[HotState]:
    """How instances wake each other."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    async with open_hot_state(url, password, prefix="neo:mail:", on_failure=lambda: None) as hot:
        yield hot


def spam_scanner_of(settings: Settings, http: httpx.AsyncClient) -> Scanner:
    """The one that is configured."""
    if settings.rspamd_url is not None:
        return Rspamd(http, settings.rspamd_url)
    return Spamd(settings.spamd_address) if settings.spamd_address is not None else NoScanner()


def rules_of(settings: Settings, accounts: tuple[Account, ...]) -> Rules:
    """Whose mail is answered."""
    return Rules(
        own_addresses=ours_of(accounts),
        allowed=frozenset(settings.allowed_senders),
        blocked=frozenset(settings.blocked_senders),
        urgent=frozenset(settings.urgent_senders),
        bulk_allowed=frozenset(settings.answer_bulk),
        largest=settings.max_email_size,
        give_up_after=timedelta(hours=settings.give_up_hours),
    )


def ours_of(accounts: tuple[Account, ...]) -> frozenset[str]:
    """Every address that leads to us."""
    return frozenset().union(*(account.ours for account in accounts))


def assemble(
    settings: Settings,
    accounts: tuple[Account, ...],
    records: Records,
    post: Post,
    ai_core: AiCore,
    hot: HotState,
    examiners: Examiners,
) -> Service:
    """The service over what it needs from outside."""
    rules = rules_of(settings, accounts)
    metrics = Metrics(records.ways, records.ledger, now_in_utc)
    metrics.watch(post.numbered_mailboxes, post.numbered_outlets)
    records.ways.observe = metrics.stepped
    tools = tools_of(settings, accounts, records, post, ai_core, hot, examiners)
    oldest = timedelta(days=settings.max_mail_age_days)
    handler = Handler(tools, oldest=oldest, clock=now_in_utc, answered=metrics.answered)
    archive = Archive(
        records.database,
        records.journal,
        records.envelopes,
        records.correspondence,
        records.cursors,
        records.ways,
        records.names,
    )
    intake = Intake(archive, hot.wakeups, post.accounts_of, lambda letter: is_urgent(letter, rules))
    health = Health(checks_of(records.database, ai_core, hot, post, examiners, records.ledger), {"database"})
    return Service(
        records,
        post,
        Crew(records.journal, handler.handle, hot.wakeups, workers=settings.workers),
        tuple(Watcher(records.journal, mailbox, intake) for mailbox in post.mailboxes.values()),
        Office(
            records.ledger,
            records.ways,
            records.correspondence,
            records.switches,
            records.keeper,
            hot.wakeups,
        ),
        health,
        metrics,
    )


def tools_of(
    settings: Settings,
    accounts: tuple[Account, ...],
    records: Records,
    post: Post,
    ai_core: AiCore,
    hot: HotState,
    examiners: Examiners,
) -> Tools:
    """What mails are answered with. Raises BrandError, PromptError, SigningError."""
    brand, logo = load_brand(settings.brand_path)
    replier = Replier(
        {account.address: account for account in accounts},
        Composer(logo=logo, signer=signer_of(settings, accounts)),
        Letterhead(brand, has_logo=logo is not None),
        records.names,
        brand_name=brand.name,
        drafts=settings.approval == "drafts",
        clock=now_in_utc,
    )
    sources = Sources(
        ai_core=ai_core,
        extractor=ConfinedExtractor(
            DocumentLimits(
                input_bytes=settings.max_attachment_size, characters=settings.max_prompt_characters
            )
        ),
        correspondence=records.correspondence,
        keeper=records.keeper,
        names=records.names,
    )

    async def forget(person: str) -> None:
        await records.keeper.forget_person(person)

    return Tools(
        judge=Judge(
            rules_of(settings, accounts),
            examiners,
            records.correspondence,
            records.allowances,
            records.names,
            records.ways,
            clock=now_in_utc,
        ),
        answerer=Answerer(sources, replier, manner_of(settings, ours_of(accounts)), clock=now_in_utc),
        deliverer=Deliverer(
            post.outlets,
            post.mailboxes,
            post.first_mailboxes,
            records.envelopes,
            records.ways,
            forget=forget,
            clock=now_in_utc,
            give_up_after=timedelta(hours=settings.give_up_hours),
        ),
        mailboxes=post.mailboxes,
        notices=Notices(records.journal, records.envelopes, records.names, hot.wakeups, clock=now_in_utc),
        envelopes=records.envelopes,
        correspondence=records.correspondence,
        allowances=records.allowances,
        names=records.names,
        ways=records.ways,
    )


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; lanes are given back before this returns."""
    accounts_of(settings)
    await migrate(settings)
    async with until_signal() as lifetime, open_service(settings) as service:
        web = create_web(service.health, service.metrics, service.office, settings.admin_key)
        async with serving(web, settings.mail_host, settings.mail_port) as port:
            service.crew.start()
            try:
                async with at_work(settings, service, lifetime):
                    log.info("serving", port=port, folders=len(service.watchers), approval=settings.approval)
                    await lifetime.wait()
            finally:
                # Also where a task of the background has failed: what is going out is seen out.
                log.info("draining")
                await service.crew.stop(settings.drain_timeout)


@asynccontextmanager
async def at_work(settings: Settings, service: Service, lifetime: Lifetime) -> AsyncIterator[None]:
    """Folders and SMTP servers are watched, and old mails deleted, until the block ends."""
    async with AsyncExitStack() as stack:
        for watcher in service.watchers:
            await stack.enter_async_context(lifetime.background(watcher.run()))
        for name, outlet in service.post.numbered_outlets.items():
            await stack.enter_async_context(lifetime.background(keep_looking(name, outlet)))
        await stack.enter_async_context(lifetime.background(keep_house(settings, service)))
        yield


async def keep_house(settings: Settings, service: Service) -> None:
    """Delete what is older than RETENTION_DAYS, now and every hour, until cancelled."""
    while True:
        before = now_in_utc() - timedelta(days=settings.retention_days)
        try:
            cleaned = await service.records.keeper.clean(before)
        except StorageUnavailable:
            log.warning("old mails not deleted", reason="the database is away")
        else:
            log.info("old mails deleted", letters=cleaned.letters, entries=cleaned.entries)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def keep_looking(name: str, outlet: Outlet) -> None:
    """See whether an SMTP server lets us in, also while nobody writes, until cancelled."""
    last = Access.OK
    while True:
        access = await outlet.look()
        if access is not last and access is Access.OK:
            log.info("SMTP server lets us in again", server=name)
        elif access is not last:
            log.warning("SMTP server does not let us in", server=name, state=access.value)
        last = access
        # Before Python 3.12, asyncio.wait_for forgets a cancellation that comes together with a result.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            return
        await asyncio.sleep(REFUSED_LOOK_SECONDS if access is Access.REFUSED else LOOK_SECONDS)
