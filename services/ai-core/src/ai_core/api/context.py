"""What the routes work with; made where the application is put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from ai_core.access.assembly import Access
from ai_core.inference.served import ServedEngine
from ai_core.inference.service import Inference


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """``engines`` holds one engine for each name in the catalog."""

    inference: Inference
    engines: Mapping[str, ServedEngine]
    registry: CollectorRegistry
    access: Access
    max_body_bytes: int
    version: str
    started_at: float = field(default_factory=time.time)
    """Seconds since 1970."""
