"""How long requests last: what those can be told who wait for one to end."""

from __future__ import annotations

from collections import OrderedDict

UNKNOWN_SECONDS = 5.0
REMEMBERED_KEYS = 10_000


class Durations:
    """How long requests of a key lasted lately."""

    def __init__(self) -> None:
        self._means: OrderedDict[str, float] = OrderedDict()

    def note(self, key_id: str, seconds: float) -> None:
        """A request has ended."""
        mean = self._means.get(key_id, seconds)
        self._means[key_id] = mean + (seconds - mean) / 4
        self._means.move_to_end(key_id)
        if len(self._means) > REMEMBERED_KEYS:
            self._means.popitem(last=False)

    def mean(self, key_id: str) -> float:
        """In seconds; a guess, before the first has ended."""
        return self._means.get(key_id, UNKNOWN_SECONDS)
