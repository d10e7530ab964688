"""Requests that are suspected of killing engines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

Fingerprint = bytes
"""Stands for a request without saying what it said (see :mod:`.fingerprint`)."""

_STRIKES = 2


@dataclass(slots=True)
class _Suspicion:
    strikes: int
    until: float


@dataclass(slots=True)
class Quarantine:
    """Counts, per fingerprint, how often an engine died with this request in its batch.

    After one strike a request is suspected: it runs alone. So the second strike in a row is its
    own, and it is refused for ``term`` seconds. Suspicions lapse after the same time.
    """

    term: float = 3600.0
    capacity: int = 1024
    _suspicions: OrderedDict[Fingerprint, _Suspicion] = field(default_factory=OrderedDict)

    def __bool__(self) -> bool:
        """Whether any request is suspected or refused."""
        return bool(self._suspicions)

    def strike(self, concerned: Iterable[Fingerprint], now: float) -> None:
        """One engine died with these requests in its batch. The same one twice is one strike."""
        for suspect in set(concerned):
            known = self._current(suspect, now)
            self._suspicions[suspect] = _Suspicion((known.strikes if known else 0) + 1, now + self.term)
            self._suspicions.move_to_end(suspect)
        while len(self._suspicions) > self.capacity:
            self._suspicions.popitem(last=False)

    def suspects(self, request: Fingerprint, now: float) -> bool:
        """Whether this request must run alone."""
        return self._current(request, now) is not None

    def refused_for(self, request: Fingerprint, now: float) -> float:
        """For how many seconds this request is still refused; 0: it is not."""
        known = self._current(request, now)
        return known.until - now if known is not None and known.strikes >= _STRIKES else 0.0

    def acquit(self, request: Fingerprint) -> None:
        """This request ran to its end alone: it was not the one."""
        self._suspicions.pop(request, None)

    def _current(self, request: Fingerprint, now: float) -> _Suspicion | None:
        known = self._suspicions.get(request)
        if known is not None and known.until <= now:
            del self._suspicions[request]
            return None
        return known
