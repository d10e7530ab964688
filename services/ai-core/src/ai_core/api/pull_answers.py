"""What is told of a pull: its events as data, and its failures as errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from ai_core import errors
from ai_core.api.event_stream import event as framed
from ai_core.catalog.hub.messages import Completed, Event, Failed, Moved, Planned, Problem, Waiting
from ai_core.catalog.hub.progress import Rate

_RETRY_SECONDS = 60.0
"""Where the hub does not say when it is back."""
_ERRORS: dict[Problem, tuple[type[errors.NeoError], str]] = {
    "not_found": (errors.ModelNotFound, "not_at_hub"),
    "nothing_to_fetch": (errors.InvalidRequest, "nothing_to_fetch"),
    "does_not_fit": (errors.InvalidRequest, "does_not_fit"),
    "disk_full": (errors.DiskFull, "disk_full"),
    "hub_unavailable": (errors.UpstreamUnavailable, "hub_unavailable"),
    "hub_busy": (errors.UpstreamUnavailable, "hub_busy"),
    "stalled": (errors.UpstreamUnavailable, "stalled"),
    "gated": (errors.UpstreamFailed, "hub_refused"),
    "token_refused": (errors.UpstreamFailed, "hub_refused"),
    "checksum_mismatch": (errors.UpstreamFailed, "checksum_mismatch"),
    "failed": (errors.UpstreamFailed, "pull_failed"),
}


class PullEvents:
    """One follower's events, with the rate at which bytes come for them."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._rate = Rate()
        self._activity = ""

    def event(self, event: Event) -> bytes:
        """A server-sent event. Raises NeoError for a pull that failed."""
        return framed(msgspec.json.encode({"name": self._name} | self._facts(event)))

    def _facts(self, event: Event) -> dict[str, Any]:
        match event:
            case Planned():
                return {
                    "status": "planned",
                    "choice": event.said,
                    "commit": event.commit,
                    "files": event.files,
                    "completed": event.have,
                    "total": event.total,
                }
            case Moved():
                return self._moved(event)
            case Waiting():
                return {"status": "waiting", "reason": event.why, "seconds": event.seconds}
            case Completed():
                return {
                    "status": "done",
                    "choice": event.said,
                    "commit": event.commit,
                    "type": event.form,
                    "total": event.total,
                    "already_here": event.already,
                }
            case Failed():
                raise error_of(event)

    def _moved(self, event: Moved) -> dict[str, Any]:
        if event.activity != self._activity:
            self._activity, self._rate = event.activity, Rate()
        self._rate.moved(self._clock(), event.done)
        rate, left = self._rate.per_second, self._rate.seconds_left(event.total)
        return {
            "status": event.activity,
            "file": event.file,
            "completed": event.done,
            "total": event.total,
            "bytes_per_second": None if rate is None else round(rate),
            "seconds_left": None if left is None else round(left, 1),
        }


def error_of(failed: Failed) -> errors.NeoError:
    """Why a pull failed, as all errors are."""
    kind, code = _ERRORS[failed.problem]
    if issubclass(kind, errors.UpstreamUnavailable):
        return kind(failed.message, code=code, retry_after=failed.retry_after or _RETRY_SECONDS)
    asked = issubclass(kind, errors.ModelNotFound | errors.InvalidRequest)
    return kind(failed.message, code=code, parameter="name" if asked else None)
