"""How long nobody tries again: longer each time, up to a limit."""

from __future__ import annotations

import random
from collections.abc import Callable


class Pauses:
    """Grows with each failure in a row."""

    def __init__(self, first: float, longest: float, chance: Callable[[], float] = random.random) -> None:
        """Both in seconds. ``chance`` is between 0 and 1: those that failed together come back apart."""
        self._first = first
        self._longest = longest
        self._chance = chance
        self.failures = 0

    def forget(self) -> None:
        """It went well again."""
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure: up to half of them are left to chance."""
        # 2**64 seconds is beyond any limit, and larger powers beyond any float.
        longest = min(self._first * 2.0 ** min(self.failures, 64), self._longest)
        self.failures += 1
        return longest * (0.5 + self._chance() / 2.0)
