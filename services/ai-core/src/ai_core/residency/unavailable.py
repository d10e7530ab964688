"""What a caller is told when there is no engine for it, and when to try again."""

from __future__ import annotations

import math

from ai_core.errors import EngineUnavailable
from ai_core.residency.recovery import Cause

_LONGEST_WAIT = 60.0
_UNKNOWN_LOAD = 5.0
_FIRST_USEFUL_PROGRESS = 0.02

_HOW_LOST = {
    Cause.CRASHED: "crashed",
    Cause.KILLED: "was killed from outside (perhaps memory ran out)",
    Cause.HUNG: "stood still and was replaced",
    Cause.LOAD_FAILED: "could not load its model",
    Cause.CLOSED: "was shut down",
}


def seconds_to_load(progress: float, elapsed: float) -> float:
    """What is left of a load, 1 to 60 s, if it goes on as it went so far (``progress`` 0 to 1)."""
    if progress < _FIRST_USEFUL_PROGRESS:
        return _UNKNOWN_LOAD
    return min(_LONGEST_WAIT, _whole(elapsed * (1 - progress) / progress))


def loading(model: str, progress: float, elapsed: float) -> EngineUnavailable:
    """The caller's patience ended before the model was resident."""
    wait = seconds_to_load(progress, elapsed)
    return EngineUnavailable(
        f"The model '{model}' is loading ({progress:.0%}). Try again in {wait:.0f} s.",
        code="model_loading",
        retry_after=wait,
    )


def no_room(model: str, wait: float) -> EngineUnavailable:
    """The caller's patience ended before others made room. Who they are is not this caller's business."""
    wait = _whole(min(wait, _LONGEST_WAIT))
    return EngineUnavailable(
        f"The model '{model}' waits for memory that other models use now. Try again in {wait:.0f} s.",
        code="no_room",
        retry_after=wait,
    )


def converting(model: str, form: str) -> EngineUnavailable:
    """It is too large as it is stored, and brought into a form that fits; that happens once."""
    return EngineUnavailable(
        f"The model '{model}' is too large as it is stored and is being converted to {form}, once. "
        f"Try again in {_LONGEST_WAIT:.0f} s.",
        code="model_converting",
        retry_after=_LONGEST_WAIT,
    )


def too_large(model: str, needs: int, room: int, why: str) -> EngineUnavailable:
    """The model can never be loaded as this server is configured; there is no point in trying again.

    ``why`` says what bounds the room.
    """
    return EngineUnavailable(
        f"The model '{model}' needs about {in_gigabytes(needs)} of memory, and {why} {in_gigabytes(room)}. "
        "Take a smaller quantization or a shorter context, or give it more memory.",
        code="model_too_large",
    )


def in_gigabytes(size: int) -> str:
    """``1.53 GB``; 1 GB is 10⁹ bytes."""
    return f"{size / 1e9:.2f} GB"


def restarting(model: str, wait: float) -> EngineUnavailable:
    """Between two processes."""
    wait = _whole(wait)
    return EngineUnavailable(
        f"The engine of the model '{model}' restarts. Try again in {wait:.0f} s.", retry_after=wait
    )


def parked(model: str, reason: str, wait: float) -> EngineUnavailable:
    """The model is not tried again before ``wait`` seconds have passed."""
    wait = _whole(wait)
    reason = reason.removesuffix(".")
    return EngineUnavailable(
        f"The model '{model}' cannot be served: {reason}. It will be tried again in {wait:.0f} s.",
        code="model_parked",
        retry_after=wait,
    )


def lost(model: str, cause: Cause, wait: float) -> EngineUnavailable:
    """The engine ended while it computed this answer."""
    wait = _whole(wait)
    return EngineUnavailable(
        f"The engine of the model '{model}' {_HOW_LOST[cause]} during this answer. "
        f"Try again in {wait:.0f} s.",
        retry_after=wait,
    )


def closed(model: str) -> EngineUnavailable:
    """Nobody will start this engine again."""
    return EngineUnavailable(f"The engine of the model '{model}' is shut down.", retry_after=_UNKNOWN_LOAD)


def _whole(seconds: float) -> float:
    # Retry-After is a whole number of seconds (RFC 9110, section 10.2.3).
    return float(max(1, math.ceil(seconds)))
