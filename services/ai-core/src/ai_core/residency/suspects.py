"""Recognises the requests that are suspected of killing engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from ai_core.engine.messages import Submit
from ai_core.errors import RequestQuarantined
from ai_core.residency.fingerprint import fingerprint
from ai_core.residency.quarantine import Quarantine


class Suspects:
    """The quarantine of one model, asked with requests instead of fingerprints."""

    def __init__(self, model: str, quarantine: Quarantine, clock: Callable[[], float]) -> None:
        self._model = model
        self._quarantine = quarantine
        self._clock = clock

    def admit(self, request: Submit) -> Submit:
        """The request as it may run: a suspected one runs alone.

        Raises:
            RequestQuarantined: it killed engines before.
        """
        if not self._quarantine:
            return request
        print_ = fingerprint(self._model, request)
        if self._quarantine.refused_for(print_, self._clock()):
            raise self.refusal(request)
        if self._quarantine.suspects(print_, self._clock()):
            return msgspec.structs.replace(request, alone=True)
        return request

    def refuses(self, request: Submit) -> bool:
        return self._refused_for(request) > 0

    def refusal(self, request: Submit) -> RequestQuarantined:
        """The error for a request that killed an engine again."""
        seconds = math.ceil(self._refused_for(request) or self._quarantine.term)
        return RequestQuarantined(
            "This request ended the engine more than once and is refused for a while. "
            "Change it, or tell the operator of this service about it.",
            retry_after=float(seconds),
        )

    def strike(self, requests: Iterable[Submit]) -> None:
        """An engine died with these requests in its batch."""
        self._quarantine.strike((fingerprint(self._model, one) for one in requests), self._clock())

    def acquit(self, request: Submit) -> None:
        """It ran to its end alone."""
        self._quarantine.acquit(fingerprint(self._model, request))

    def _refused_for(self, request: Submit) -> float:
        return self._quarantine.refused_for(fingerprint(self._model, request), self._clock())
