"""What the routes work with; made where the application is put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry

from ai_core.access.assembly import Access
from ai_core.access.limits.limiter import Limiter
from ai_core.api.live_sockets import LiveSockets
from ai_core.api.tracing import Tracing
from ai_core.inference.batches.archive import Batches
from ai_core.inference.served import ServedEngine
from ai_core.inference.service import Inference
from ai_core.transcription.port import Transcriber


class Answering(Protocol):
    """A store that can be asked whether it is there."""

    async def ping(self) -> float:
        """Seconds that it took to answer. Raises StorageUnavailable."""


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
    stores: Mapping[str, Answering] = field(default_factory=dict)
    """Further stores beside the database, by what they are called in health."""
    tracing: Tracing | None = None
    """None: nobody wants traces."""
    version: str
    started_at: float = field(default_factory=time.time)
    """Seconds since 1970."""
