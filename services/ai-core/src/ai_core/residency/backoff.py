"""When an engine that ended is started again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """All times in seconds."""

    delays: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    """Before the first, second, … restart in a row; the last one stays."""
    stable_after: float = 60.0
    """An engine that served this long begins with the first delay again."""
    park_after: int = 5
    """So many ends within ``window`` park the model."""
    window: float = 300.0
    cool_down: float = 60.0
    """A parked model is tried once more after this time."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Park:
    """Do not start before ``until``, and then only for a request."""

    until: float


@dataclass(slots=True)
class Backoff:
    """Remembers the ends of one model's engines. Times come from any monotonic clock."""

    policy: RestartPolicy = RestartPolicy()
    _ends: deque[float] = field(default_factory=deque)
    _in_a_row: int = 0

    def ended(self, now: float, served: float) -> Restart | Park:
        """An engine ended that nobody asked to end; ``served`` seconds had passed since it was ready."""
        if served >= self.policy.stable_after:
            self._in_a_row = 0
        self._remember(now)
        if len(self._ends) >= self.policy.park_after:
            return Park(now + self.policy.cool_down)
        delay = self.policy.delays[min(self._in_a_row, len(self.policy.delays) - 1)]
        self._in_a_row += 1
        return Restart(delay)

    def refused(self, now: float) -> Park:
        """The engine said that this model cannot be served: trying at once would change nothing."""
        return Park(now + self.policy.cool_down)

    def _remember(self, now: float) -> None:
        self._ends.append(now)
        while self._ends[0] <= now - self.policy.window:
            self._ends.popleft()
