"""Start-time fair queueing (Goyal, Vin and Cheng, 1996) by key. Pure.

Every key has a virtual time that its admitted requests push on by their cost. The key that is furthest
behind goes next.
"""

from __future__ import annotations

from collections.abc import Collection

_REMEMBERED_KEYS = 1024
"""Keys with nothing waiting whose virtual time is remembered."""


class FairShare:
    """How far each key's virtual time is, in units of cost."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._times: dict[str, float] = {}

    def start(self, key: str) -> float:
        """The virtual time at which a key's next request begins; the smallest goes first."""
        return max(self._clock, self._times.get(key, 0.0))

    def charge(self, key: str, cost: int, backlogged: Collection[str]) -> None:
        """A request was admitted, while these keys had requests waiting."""
        start = self.start(key)
        # Newcomers begin at the clock. It is not simply `start`: a request may be admitted out of
        # turn, and that must not put newcomers behind those whose turn it was.
        self._clock = min([start, *map(self.start, backlogged)])
        self._times[key] = start + cost
        if len(self._times) > len(backlogged) + _REMEMBERED_KEYS:
            self._times = {key: time for key, time in self._times.items() if key in backlogged}
