"""The composition root: from settings to everything that runs. Nothing is made anywhere else."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from ai_core.access.assembly import Access, access_over, open_database
from ai_core.access.local_key import make_local_key
from ai_core.api.application import create_application
from ai_core.api.context import ApiContext
from ai_core.api.server import serve
from ai_core.catalog.files import ModelSources, load_catalog
from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.config import Settings
from ai_core.engine.messages import EngineConfig
from ai_core.errors import NeoError
from ai_core.inference.engine_metrics import EngineCollector
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.served import ServedEngine
from ai_core.inference.service import Equipment, Inference, Limits
from ai_core.residency.life import Patience
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine
from servicekit.logging import get_logger

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
        waits = [asyncio.create_task(requests.wait_until_nobody()), asyncio.create_task(self.hurry.wait())]
        await asyncio.wait(waits, timeout=self.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if requests.count:
            log.warning("answers broken off", requests=requests.count)
            await close_engines(self.context.engines)


async def close_engines(engines: Mapping[str, ServedEngine]) -> None:
    """End all engine processes, side by side. What still runs in them fails."""
    await asyncio.gather(*(engine.close() for engine in engines.values()))


def catalog_of(settings: Settings) -> Catalog:
    """The models of this server. Raises CatalogError."""
    if settings.engine_backend == "scripted":
        return Catalog([ModelEntry(settings.model_name or "scripted", Path("scripted"))])
    return load_catalog(
        ModelSources(
            model_path=settings.model_path,
            model_name=settings.model_name,
            model_config_path=settings.model_config_path,
            model_cache_dir=settings.model_cache_dir,
            default_model=settings.default_model,
        )
    )


def engine_config(settings: Settings, entry: ModelEntry) -> EngineConfig:
    """How the engine of one model is started."""
    return EngineConfig(
        backend=settings.engine_backend,
        model_path=str(entry.path),
        context_length=entry.context_length or settings.context_length,
        kv_cells=settings.kv_cells,
        max_sequences=settings.max_sequences,
        # The API's tickets are the limit that callers meet; the engine's own stands behind it.
        max_waiting=settings.max_queued_requests + settings.max_sequences,
        threads=entry.threads or settings.threads,
        itl_target_ms=settings.itl_target_ms,
        kv_type=settings.kv_type,
        kernels=settings.engine_kernels,
        kind=entry.kind,
        pooling=entry.pooling,
        matryoshka=entry.matryoshka,
        max_prompt_tokens=settings.max_prompt_length,
        log_level=settings.effective_log_level,
    )


@asynccontextmanager
async def open_service(settings: Settings, catalog: Catalog) -> AsyncIterator[Service]:
    """Everything up and the default model loading; on leaving, every engine process has ended."""
    async with AsyncExitStack() as stack:
        spawner = EngineSpawner()
        stack.callback(spawner.close)
        spawner.lower_own_cpu_weight()
        patience = Patience(silent=settings.engine_stall_timeout)
        engines = {
            entry.name: SupervisedEngine(
                entry.name, engine_config(settings, entry), spawner, patience=patience
            )
            for entry in catalog.entries
        }
        stack.push_async_callback(close_engines, engines)
        database = await stack.enter_async_context(open_database(settings))
        access = access_over(database, settings)
        await stack.enter_async_context(access.usage.writing())
        yield Service(api_context(settings, catalog, engines, access), settings.drain_timeout)


def api_context(
    settings: Settings, catalog: Catalog, engines: Mapping[str, ServedEngine], access: Access
) -> ApiContext:
    """What the routes work with."""
    # They would double the number of series, for times that nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(EngineCollector(engines))
    limits = Limits(
        max_sequences=settings.max_sequences,
        max_queued=settings.max_queued_requests,
        request_timeout=settings.request_timeout,
        drain_timeout=settings.drain_timeout,
    )
    return ApiContext(
        inference=Inference(
            catalog, engines, limits, AnswerMetrics(registry), Equipment(note_usage=access.usage.note)
        ),
        engines=engines,
        registry=registry,
        access=access,
        max_body_bytes=settings.max_body_bytes,
        version=version("ai-core"),
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


async def run(settings: Settings, catalog: Catalog, listener: socket.socket) -> None:
    """Serve on a listening socket until a signal ends it."""
    async with open_service(settings, catalog) as service:
        preload(service.context.engines[catalog.default.name])
        application = create_application(service.context)
        # What exists now stays to the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        await serve(application, listener, service.drain, service.hurry.set)


def preload(engine: ServedEngine) -> None:
    """Begin to load a model, so that the first answer comes soon. The first request would do it, too."""
    try:
        engine.start()
    except NeoError as error:
        log.warning("preload failed", error=error.code)
