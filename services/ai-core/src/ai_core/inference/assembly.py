"""From settings to what remembers: cached answers and conversations, in process or in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import msgspec
from prometheus_client import CollectorRegistry, Gauge

from ai_core.catalog.plan import ModelPlan
from ai_core.catalog.revision import Revision
from ai_core.config import Settings
from ai_core.engine.messages import EngineConfig
from ai_core.inference.repetition.cache import ResponseCache
from ai_core.inference.repetition.metrics import RepetitionMetrics
from ai_core.inference.repetition.source import Repetition
from ai_core.inference.sessions.archive import Archive
from ai_core.inference.sessions.sessions import Sessions
from ai_core.storage.redis_connection import RedisConnection
from servicekit.key_value.embedded import EmbeddedStore
from servicekit.key_value.port import KeyValueStore
from servicekit.key_value.redis_store import RedisStore
from servicekit.storage.sealing import seal_for

PREFIX = "neo:"
ADMINISTRATIVE = frozenset(
    {
        "model_path",
        "converted_adapters",
        "converted_models",
        "kv_cells",
        "max_sequences",
        "max_waiting",
        "threads",
        "itl_target_ms",
        "pause_bytes",
        "log_level",
    }
)
"""Settings of an engine on which no answer depends. All others count, also one that is added tomorrow."""


LIBRARIES = {
    "llama_cpp": "llama-cpp-python",
    "openvino": "openvino-genai",
    "transformers": "transformers",
    "onnxruntime": "onnxruntime-genai",
}
"""What computes, by the names of backends: another version may answer otherwise."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of answers and conversations."""

    repetition: Repetition
    sessions: Sessions


@asynccontextmanager
async def open_memory(
    settings: Settings,
    revisions: Mapping[str, Revision],
    redis: RedisConnection | None,
    registry: CollectorRegistry,
) -> AsyncIterator[Memory]:
    """What remembers, for as long as the block lasts.

    Args:
        revisions: what answers for each model, by name.
        redis: a connection of its own; None: everything stays in this process.
    """
    answers, conversations = _stores(settings, redis, registry)
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    cache = ResponseCache(
        answers, seal_for("response cache", secret), ttl=settings.cache_ttl, shared=settings.cache_shared
    )
    archive = Archive(conversations, seal_for("sessions", secret), ttl=settings.session_ttl)
    try:
        yield Memory(
            Repetition(cache, revisions, RepetitionMetrics(registry)),
            Sessions(archive, max_turns=settings.session_max_turns),
        )
    finally:
        await answers.close()
        await conversations.close()


def revision_of(plan: ModelPlan, config: EngineConfig) -> Revision:
    """What answers for a model. Of a remote one, it is not known when its server takes other weights."""
    entry = plan.entry
    manner = manner_of(config)
    if entry.upstream is not None:
        return Revision(None, f"{manner}, {entry.upstream.model or entry.name} at {entry.upstream.url}")
    return Revision(plan.path, manner)


def manner_of(config: EngineConfig) -> str:
    """Everything but the weights that an answer depends on: versions, and how the engine is set."""
    shaping = {name: getattr(config, name) for name in config.__struct_fields__ if name not in ADMINISTRATIVE}
    library = LIBRARIES.get(config.backend)
    versions = f"ai-core {version('ai-core')}" + (f", {library} {_installed(library)}" if library else "")
    return f"{versions}, {msgspec.json.encode(shaping).decode()}"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _stores(
    settings: Settings, redis: RedisConnection | None, registry: CollectorRegistry
) -> tuple[KeyValueStore, KeyValueStore]:
    """For answers and for conversations."""
    if redis is not None:
        store = RedisStore(redis, prefix=PREFIX)
        return store, store
    # Two of them: no number of cached answers may push a conversation out.
    answers, conversations = (
        EmbeddedStore(settings.cache_max_bytes),
        EmbeddedStore(settings.session_max_bytes),
    )
    gauge = Gauge(
        "neo_embedded_store_bytes",
        "What is kept in this process, where there is no Redis.",
        ["what"],
        registry=registry,
    )
    gauge.labels("answers").set_function(lambda: answers.used_bytes)
    gauge.labels("conversations").set_function(lambda: conversations.used_bytes)
    return answers, conversations
