"""The composition root: from settings to everything that runs. Nothing is made anywhere else."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from starlette.types import ASGIApp

from ai_core.access.assembly import Access, access_over, migrate, open_database
from ai_core.access.known_keys import KnownKeys
from ai_core.access.limits.assembly import open_limiter
from ai_core.access.limits.limiter import Limiter
from ai_core.access.local_key import make_local_key
from ai_core.api.application import create_application
from ai_core.api.batch_work import performing
from ai_core.api.context import ApiContext
from ai_core.api.server import serve
from ai_core.api.tracing import Tracing
from ai_core.catalog.hub.puller import Puller
from ai_core.catalog.hub.pulls import Pulls
from ai_core.catalog.hub.terms import terms_of
from ai_core.catalog.models import Catalog
from ai_core.config import Settings
from ai_core.engine_client.port import Engine
from ai_core.engine_client.remote.models import RemoteModels
from ai_core.inference.assembly import Memory, open_memory, revision_of
from ai_core.inference.batches.archive import Batches
from ai_core.inference.batches.metrics import BatchMetrics
from ai_core.inference.batches.runner import BatchRunner, Pace
from ai_core.inference.content_filter.current import ContentFilter
from ai_core.inference.content_filter.metrics import ContentFilterMetrics
from ai_core.inference.content_filter.source import Filtering
from ai_core.inference.engine_metrics import EngineCollector
from ai_core.inference.engine_room import EngineRoom
from ai_core.inference.key_metrics import KeyMetrics
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.served import ServedEngine
from ai_core.inference.served_models import Reloader, ServedModels, begin_to_load, reload_or_log
from ai_core.inference.service import Equipment, Inference, Limits
from ai_core.model_wiring import catalog_of, engine_config, fleet_settings, planner, put_remote
from ai_core.residency.fleet import Fleet
from ai_core.residency.metrics import FleetCollector
from ai_core.residency.shrinker import DiskShrinker
from ai_core.residency.spawn import EngineSpawner
from ai_core.storage.batches import BatchRepository
from ai_core.storage.database import Database
from ai_core.storage.keys import KeyRepository
from ai_core.storage.redis_connection import RedisConnection
from ai_core.transcription.remote import Upstream as TranscriptionUpstream
from ai_core.transcription.remote import open_remote_transcriber
from servicekit.logging import get_logger
from servicekit.storage.sealing import seal_for

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What runs: the context of the API, and how to end it in good order."""

    context: ApiContext
    drain_timeout: float
    """Seconds."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: answers that still run are broken off now."""

    async def drain(self) -> None:
        """Take no new requests; return when those under way are answered, or their time is over."""
        requests = self.context.inference.requests
        requests.close()
        if self.context.pulls is not None:
            # What has come is kept; the next pull goes on from there.
            await self.context.pulls.close()
        waits = [asyncio.create_task(self._nobody_left()), asyncio.create_task(self.hurry.wait())]
        await asyncio.wait(waits, timeout=self.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if requests.count:
            log.warning("answers broken off", requests=requests.count)
            await close_engines(self.context.engines)

    async def _nobody_left(self) -> None:
        await asyncio.gather(
            self.context.inference.requests.wait_until_nobody(), self.context.sockets.drain()
        )


async def close_engines(engines: Mapping[str, ServedEngine]) -> None:
    """End all engine processes, side by side. What still runs in them fails."""
    await asyncio.gather(*(engine.close() for engine in engines.values()))


def content_filter_of(settings: Settings) -> ContentFilter | None:
    """The operator's lists, if there are any. Raises ContentFilterError."""
    return None if settings.content_filter_path is None else ContentFilter(settings.content_filter_path)


@asynccontextmanager
async def open_service(
    settings: Settings, catalog: Catalog, content_filter: ContentFilter | None = None
) -> AsyncIterator[Service]:
    """Everything up over a database that :func:`prepare_keys` has migrated; on leaving, every engine
    process has ended."""
    async with AsyncExitStack() as stack:
        spawner = EngineSpawner()
        stack.callback(spawner.close)
        spawner.lower_own_cpu_weight()
        fleet = Fleet(spawner, fleet_settings(settings), shrinker=DiskShrinker(settings.model_cache_dir))
        stack.push_async_callback(fleet.close)
        remotes = RemoteModels()
        stack.push_async_callback(remotes.close)
        plan = planner(settings)

        async def look_again(name: str) -> Engine | None:
            return await reloader.look_again(name)

        room = EngineRoom(
            fleet,
            remotes,
            put_remote=partial(put_remote, remotes),
            config_of=partial(engine_config, settings),
            look_again=look_again,
        )
        models = ServedModels(room, lambda plan: revision_of(plan, engine_config(settings, plan)))
        models.take(await asyncio.to_thread(lambda: [plan(entry) for entry in catalog.entries]))
        database = await stack.enter_async_context(open_database(settings))
        access = access_over(database, settings)
        await stack.enter_async_context(access.usage.writing())
        transcriber = None
        if (upstream := transcription_upstream(settings)) is not None:
            transcriber = await stack.enter_async_context(open_remote_transcriber(upstream))
        redis = await stack.enter_async_context(redis_of(settings))
        registry = registry_over(models.engines)
        registry.register(FleetCollector(fleet.metrics, fleet.budget, fleet.standings))
        limiter = await stack.enter_async_context(open_limiter(redis, access.usage, registry))
        memory = await stack.enter_async_context(
            # A connection of its own: a large answer on its way holds up nobody's limits.
            open_memory(
                settings,
                models.revisions,
                await stack.enter_async_context(redis_of(settings)),
                registry,
            )
        )
        context = api_context(
            settings, catalog, models.engines, access, limiter, registry, memory, content_filter
        )
        stack.push_async_callback(context.inference.close)
        reloader = Reloader(lambda: catalog_of(settings), plan, models, context.inference)
        stack.push_async_callback(reloader.close)
        tracing = stack.enter_context(traces_of(settings, context.registry))
        stores = {} if redis is None else {"redis": redis}
        context = replace(context, transcriber=transcriber, tracing=tracing, stores=stores, fleet=fleet)
        context = replace(context, plans=models.plans, reload_models=reloader.reload)
        if settings.engine_backend != "scripted":
            pulls = Pulls(Puller(), terms_of(settings, fleet.budget), partial(reload_or_log, reloader.reload))
            stack.push_async_callback(pulls.close)
            context = replace(context, pulls=pulls)
        yield Service(context, settings.drain_timeout)


@asynccontextmanager
async def redis_of(settings: Settings) -> AsyncIterator[RedisConnection | None]:
    """What replicas share; None: there is only this one."""
    if settings.redis_url is None:
        yield None
        return
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    connection = RedisConnection(settings.redis_url.get_secret_value(), password=password)
    try:
        yield connection
    finally:
        await connection.close()


def registry_over(engines: Mapping[str, ServedEngine]) -> CollectorRegistry:
    """All metrics of this process; further ones register themselves."""
    # They would double the number of series, for times that nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(EngineCollector(engines))
    return registry


@contextmanager
def traces_of(settings: Settings, registry: CollectorRegistry) -> Iterator[Tracing | None]:
    """Where traces go, if anywhere; on leaving, what waits has been sent, or two seconds were not enough."""
    if settings.otel_exporter_otlp_endpoint is None:
        yield None
        return
    # Forty modules and a thread that nobody else needs.
    from ai_core.api.trace_export import TraceExport  # noqa: PLC0415

    export = TraceExport(settings.otel_exporter_otlp_endpoint, version("ai-core"), registry)
    try:
        yield export
    finally:
        export.close()


def transcription_upstream(settings: Settings) -> TranscriptionUpstream | None:
    """Where recordings go, if anywhere."""
    if settings.transcription_url is None:
        return None
    key = settings.transcription_api_key
    return TranscriptionUpstream(
        settings.transcription_url,
        api_key=key.get_secret_value() if key else None,
        model=settings.transcription_model,
        timeout=settings.transcription_timeout,
    )


def api_context(
    settings: Settings,
    catalog: Catalog,
    engines: Mapping[str, ServedEngine],
    access: Access,
    limiter: Limiter,
    registry: CollectorRegistry,
    memory: Memory,
    content_filter: ContentFilter | None = None,
) -> ApiContext:
    """What the routes work with."""
    limits = Limits(
        max_sequences=settings.max_sequences,
        max_queued=settings.max_queued_requests,
        max_queued_per_key=settings.max_queued_requests_per_key or settings.max_queued_requests // 2,
        request_timeout=settings.request_timeout,
        drain_timeout=settings.drain_timeout,
    )
    equipment = Equipment(
        repetition=memory.repetition,
        sessions=memory.sessions,
        filtering=Filtering(content_filter, ContentFilterMetrics(registry)) if content_filter else None,
        note_usage=KeyMetrics(registry).counting(access.usage.note),
        reserve=limiter.reserve,
    )
    return ApiContext(
        inference=Inference(catalog, engines, limits, AnswerMetrics(registry), equipment),
        engines=engines,
        registry=registry,
        access=access,
        limiter=limiter,
        max_body_bytes=settings.max_body_bytes,
        adapter_folders=(settings.model_cache_dir, *settings.adapter_folders),
        max_audio_bytes=settings.max_audio_size,
        cors_origins=settings.cors_origins,
        batches=batches_over(settings, access.database),
        batch_retention_days=settings.batch_retention_days,
        max_batch_bytes=settings.max_batch_bytes,
        version=version("ai-core"),
        request_timeout=settings.request_timeout,
    )


def batches_over(settings: Settings, database: Database) -> Batches:
    """Batches, sealed where there is a SECRET_KEY."""
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    return Batches(BatchRepository(database), seal_for("batches", secret))


def batch_runner(settings: Settings, context: ApiContext, application: ASGIApp) -> BatchRunner:
    """What answers the lines of batches, through the application itself."""
    database = context.access.database
    pace = Pace(
        at_once=settings.batch_concurrency or max(1, settings.max_sequences // 4),
        retention_days=settings.batch_retention_days,
    )
    keys = KnownKeys(KeyRepository(database))
    return BatchRunner(
        BatchRepository(database),
        context.batches,
        keys,
        performing(application),
        BatchMetrics(context.registry),
        pace,
    )


class NoKeysError(Exception):
    """The service would listen to the network, and nobody could get in."""


async def prepare_keys(settings: Settings, *, loopback: bool) -> str | None:
    """Bring the database up to date and see that somebody can get in.

    On a machine of one's own, the first start makes a key; it is returned, to be shown once.

    Raises:
        NoKeysError: it would listen to the network without any usable key.
        LocalKeyError, DatabaseAddressError, StorageUnavailable: as the names say.
    """
    if (revision := await migrate(settings)) is not None:
        log.info("database migrated", revision=revision)
    async with open_database(settings) as database:
        keys = access_over(database, settings).keys
        if not loopback and not await keys.any_usable():
            raise NoKeysError(
                f"API_HOST={settings.api_host} opens this service to the network, and there is no usable "
                "key yet: make one with 'ai-core keys create', or listen on 127.0.0.1."
            )
        if not loopback or await keys.all():
            return None
        return str(await make_local_key(keys, settings.local_key_path))


@contextmanager
def _reloading_on_hangup(reloads: Sequence[Callable[[], Awaitable[object]]]) -> Iterator[None]:
    """SIGHUP reads again what may be read again. Where there is nothing, it ends the process, as ever."""
    if not reloads:
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Future[object]] = set()

    def reload_all() -> None:
        for reload in reloads:
            task = asyncio.ensure_future(reload())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload_all)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def reloads_of(
    settings: Settings, context: ApiContext, content_filter: ContentFilter | None
) -> list[Callable[[], Awaitable[object]]]:
    """What SIGHUP reads again: the lists of the content filter and the models file, where there are such."""
    found: list[Callable[[], Awaitable[object]]] = []
    if content_filter is not None:
        found.append(partial(asyncio.to_thread, content_filter.reload))
    if settings.model_path is None and settings.engine_backend != "scripted":
        found.append(partial(reload_or_log, context.reload_models))
    return found


async def run(
    settings: Settings,
    catalog: Catalog,
    listener: socket.socket,
    content_filter: ContentFilter | None = None,
) -> None:
    """Serve on a listening socket until a signal ends it."""
    async with open_service(settings, catalog, content_filter) as service:
        begin_to_load(service.context.engines[catalog.default.name])
        if service.context.fleet is not None:
            service.context.fleet.preload()
        application = create_application(service.context)
        # What exists now stays to the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        runner = batch_runner(settings, service.context, application)

        async def drain() -> None:
            # Nobody waits for them: they go on with the next start, or in another replica.
            await runner.stop()
            await service.drain()

        with _reloading_on_hangup(reloads_of(settings, service.context, content_filter)):
            async with runner.running():
                await serve(
                    application,
                    listener,
                    drain,
                    service.hurry.set,
                    max_message_bytes=settings.max_body_bytes,
                )
