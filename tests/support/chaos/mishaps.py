"""What a plan of any run consists of. Pure. Times are seconds of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Life:
    """Of the service's process, but the last one, which may go on."""

    point: str
    """Where it ends by SIGKILL."""
    times: int
    """How often it passes there; the last time is its end."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Something is away for a while."""

    what: Literal["core", "database", "redis"]
    how: str
    at: float
    seconds: float


class Surroundings(Protocol):
    """What a plan says of the servers around a service."""

    @property
    def seed(self) -> int:
        """By which the run can be repeated."""

    @property
    def postgres(self) -> bool:
        """PostgreSQL instead of SQLite."""

    @property
    def redis(self) -> bool:
        """Whether there is one."""
