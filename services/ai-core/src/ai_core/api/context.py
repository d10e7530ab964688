"""What the routes work with; made where the application is put together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from ai_core.access.assembly import Access
from ai_core.access.limits.limiter import Limiter
from ai_core.api.live_sockets import LiveSockets
from ai_core.api.tracing import Tracing
from ai_core.catalog.hub.pulls import Pulls
from ai_core.catalog.plan import Changes, ModelPlan
from ai_core.inference.batches.archive import Batches
from ai_core.inference.served import ServedEngine
from ai_core.inference.service import Inference
from ai_core.residency.fleet import Fleet
from ai_core.transcription.port import Transcriber


class Answering(Protocol):
    """A store that can be asked whether it is there."""

    async def ping(self) -> float:
        """Seconds that it took to answer. Raises StorageUnavailable."""


async def nothing_to_reload() -> Changes:
    """Where no file lists the models."""
    return Changes()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """``engines`` holds one engine for each name in the catalog."""

    inference: Inference
    engines: Mapping[str, ServedEngine]
    registry: CollectorRegistry
    access: Access
    limiter: Limiter
    max_body_bytes: int
    max_audio_bytes: int = 26_214_400
    """Of an uploaded recording."""
    transcriber: Transcriber | None = None
    """None: this server turns no speech into text."""
    cors_origins: tuple[str, ...] = ()
    """Whose web pages may call from a browser."""
    sockets: LiveSockets = field(default_factory=LiveSockets)
    batches: Batches
    batch_retention_days: int = 30
    max_batch_bytes: int = 33_554_432
    """Of a whole batch; each of its lines is bounded by ``max_body_bytes``."""
    plans: Mapping[str, ModelPlan] = field(default_factory=dict)
    """How each model is served, by name; a live view. Where there is none, less is told of models."""
    reload_models: Callable[[], Awaitable[Changes]] = nothing_to_reload
    """Reads the models file again. Raises ModelsFileInvalid."""
    stores: Mapping[str, Answering] = field(default_factory=dict)
    """Further stores beside the database, by what they are called in health."""
    fleet: Fleet | None = None
    """The engines of models that are computed here; None: there are none that could be loaded."""
    request_timeout: float = 300.0
    """Seconds that those wait who do not say how long."""
    pulls: Pulls | None = None
    """What fetches models from the hub; None: this server serves none from there."""
    tracing: Tracing | None = None
    """None: nobody wants traces."""
    adapter_folders: Sequence[Path] = (Path("var/models"),)
    """Where adapters may be loaded from over HTTP; relative paths begin at the first that has them."""
    version: str
    started_at: float = field(default_factory=time.time)
    """Seconds since 1970."""
