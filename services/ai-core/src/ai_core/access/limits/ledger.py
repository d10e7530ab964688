"""The port: what keys have used within the last minute, and what they are using now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

WINDOW_SECONDS = 60.0
LEASE_SECONDS = 30.0
"""A reservation that is not renewed for so long belongs to a process that died, and is given back."""


class Kind(StrEnum):
    """The limits, as metrics and error messages call them."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    TOKENS_PER_DAY = "tokens_per_day"
    CONCURRENT_REQUESTS = "concurrent_requests"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How a limit per minute stands. Times in seconds from now.

    ``reset_after``: until ``remaining`` grows next, because what was used longest ago leaves the window; 0
    if nothing is used. ``retry_after``: 0 if what was asked for was granted, else until it would be.
    """

    limit: int
    remaining: int
    reset_after: float
    retry_after: float = 0.0

    @property
    def granted(self) -> bool:
        """Whether it was counted."""
        return self.retry_after == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one request wants to reserve. None: there is no such limit.

    ``used_today`` is what the database has counted; what is reserved at present comes on top of it.
    """

    tokens: int
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    used_today: int = 0
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``refused`` None: everything is reserved; else the limit in the way, and nothing is reserved.

    ``tokens`` tells how the tokens of this minute stand, where they are limited.
    """

    refused: Kind | None
    tokens: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation: its key, its own id (unique for ever), and its tokens."""

    key_id: str
    id: str
    tokens: int


class Ledger(Protocol):
    """Counts exactly, over a window that moves: in no minute is more granted than the limit, whichever
    process asked. Every method raises ``StoreUnavailable``."""

    async def hit(self, key_id: str, hit: str, limit: int) -> Allowance:
        """Count one request, unless that were more than ``limit`` within a window. ``hit`` is unique."""

    async def reserve(self, lease: Lease, demand: Demand) -> Decision:
        """Reserve what a request may need at most, or nothing.

        Asked in this order: concurrent requests, tokens of this day, tokens of this minute.
        """

    async def settle(self, lease: Lease, tokens: int) -> None:
        """The request is over and took ``tokens``: what was reserved beyond is given back at once, and what
        it took counts from the time of its reservation. Does nothing if the lease has lapsed."""

    async def renew(self, leases: Iterable[Lease]) -> None:
        """These are still in use. One that was forgotten meanwhile (Redis was restarted) is known again."""

    async def close(self) -> None:
        """Break off what is under way; no call may follow."""
