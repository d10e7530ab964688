"""One line for each start, readiness and end of an engine. No line holds a text of a user."""

from __future__ import annotations

from collections.abc import Mapping

from ai_core.engine.messages import Ready
from ai_core.residency.life import Ending, EngineLife
from ai_core.residency.recovery import Cause, signal_name
from servicekit.logging import get_logger

_log = get_logger(__name__)


def log_started(model: str, life: EngineLife) -> None:
    _log.info("engine_started", model=model, pid=life.pid)


def log_ready(model: str, life: EngineLife, ready: Ready) -> None:
    _log.info(
        "engine_ready",
        model=model,
        pid=life.pid,
        backend=ready.backend,
        description=ready.description,
        context_length=ready.context_length,
        load_seconds=round(ready.load_seconds, 3),
    )


def log_ended(
    model: str, ending: Ending, requests: Mapping[str, int], next_state: str, next_start: float
) -> None:
    """``requests``: what became of them, counted; ``next_start``: in so many seconds."""
    log = _log.info if ending.cause is Cause.CLOSED else _log.error
    log(
        "engine_ended",
        model=model,
        pid=ending.pid,
        cause=ending.cause.value,
        exit_status=ending.exit_status,
        signal=signal_name(ending.exit_status),
        reason=ending.reason,
        served_seconds=round(ending.served, 3),
        requests=dict(requests),
        next_state=next_state,
        next_start_seconds=round(max(0.0, next_start), 3),
    )
