"""The ledger of a service without replicas: in this process, gone with it."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ai_core.access.limits.ledger import (
    LEASE_SECONDS,
    WINDOW_SECONDS,
    Allowance,
    Decision,
    Demand,
    Kind,
    Lease,
)

SWEEP_SECONDS = 60.0


@dataclass(slots=True)
class _Spent:
    """Tokens of one request, and when they were reserved."""

    at: float
    tokens: int


@dataclass(slots=True)
class _Held:
    """A lease that is in use."""

    tokens: int
    until: float


@dataclass(slots=True)
class _Account:
    """One key's. ``spent`` and ``held`` go by the lease's id; ``spent`` is ordered by time."""

    hits: deque[float] = field(default_factory=deque)
    spent: OrderedDict[str, _Spent] = field(default_factory=OrderedDict)
    spent_total: int = 0
    held: dict[str, _Held] = field(default_factory=dict)

    def advance(self, now: float) -> None:
        """Let go of what has left the window, and of leases that have lapsed."""
        while self.hits and self.hits[0] <= now - WINDOW_SECONDS:
            self.hits.popleft()
        while self.spent and (first := next(iter(self.spent.items())))[1].at <= now - WINDOW_SECONDS:
            self.spent_total -= first[1].tokens
            del self.spent[first[0]]
        for lapsed in [lease for lease, held in self.held.items() if held.until <= now]:
            del self.held[lapsed]

    @property
    def empty(self) -> bool:
        """Nothing is left to remember."""
        return not (self.hits or self.spent or self.held)


class MemoryLedger:
    """Implements :class:`.ledger.Ledger`. Grows with the keys that were used within the last two minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._swept = clock()

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._accounts)

    async def hit(self, key_id: str, hit: str, limit: int) -> Allowance:
        now = self._clock()
        hits = self._account(key_id, now).hits
        if len(hits) >= limit:
            return _allowance(limit, len(hits), hits, now, retry_at=hits[len(hits) - limit])
        hits.append(now)
        return _allowance(limit, len(hits), hits, now)

    async def reserve(self, lease: Lease, demand: Demand) -> Decision:
        now = self._clock()
        account = self._account(lease.key_id, now)
        decision = _decide(account, demand, now)
        if decision.refused is None:
            account.held[lease.id] = _Held(lease.tokens, now + LEASE_SECONDS)
            if demand.tokens_per_minute is not None:
                account.spent[lease.id] = _Spent(now, lease.tokens)
                account.spent_total += lease.tokens
                return Decision(None, _tokens(account, demand.tokens_per_minute, now))
        return decision

    async def settle(self, lease: Lease, tokens: int) -> None:
        account = self._account(lease.key_id, self._clock())
        account.held.pop(lease.id, None)
        if (spent := account.spent.get(lease.id)) is not None:
            account.spent_total += tokens - spent.tokens
            spent.tokens = tokens

    async def renew(self, leases: Iterable[Lease]) -> None:
        now = self._clock()
        for lease in leases:
            self._account(lease.key_id, now).held[lease.id] = _Held(lease.tokens, now + LEASE_SECONDS)

    async def close(self) -> None:
        """What is counted goes with the process."""

    def _account(self, key_id: str, now: float) -> _Account:
        if now - self._swept >= SWEEP_SECONDS:
            self._sweep(now)
        account = self._accounts.get(key_id)
        if account is None:
            account = self._accounts[key_id] = _Account()
        account.advance(now)
        return account

    def _sweep(self, now: float) -> None:
        self._swept = now
        for account in self._accounts.values():
            account.advance(now)
        self._accounts = {key: account for key, account in self._accounts.items() if not account.empty}


def _decide(account: _Account, demand: Demand, now: float) -> Decision:
    tokens = None
    if demand.tokens_per_minute is not None:
        tokens = _tokens(account, demand.tokens_per_minute, now, wanted=demand.tokens)
    if demand.concurrent_requests is not None and len(account.held) >= demand.concurrent_requests:
        return Decision(Kind.CONCURRENT_REQUESTS, tokens)
    if demand.tokens_per_day is not None:
        held = sum(each.tokens for each in account.held.values())
        if demand.used_today + held + demand.tokens > demand.tokens_per_day:
            return Decision(Kind.TOKENS_PER_DAY, tokens)
    if tokens is not None and not tokens.granted:
        return Decision(Kind.TOKENS_PER_MINUTE, tokens)
    return Decision(None, tokens)


def _tokens(account: _Account, limit: int, now: float, wanted: int = 0) -> Allowance:
    times = (spent.at for spent in account.spent.values())
    over = account.spent_total + wanted - limit
    retry_at = _freed_at(account.spent.values(), over) if over > 0 and wanted else None
    return _allowance(limit, account.spent_total, times, now, retry_at=retry_at)


def _freed_at(spent: Iterable[_Spent], tokens: int) -> float:
    """When so many tokens have been reserved, the oldest first; they leave the window in that order."""
    freed, at = 0, 0.0
    for each in spent:
        freed, at = freed + each.tokens, each.at
        if freed >= tokens:
            break
    return at


def _allowance(
    limit: int, used: int, times: Iterable[float] | Iterator[float], now: float, retry_at: float | None = None
) -> Allowance:
    oldest = next(iter(times), None)
    return Allowance(
        limit,
        max(limit - used, 0),
        0.0 if oldest is None else oldest + WINDOW_SECONDS - now,
        0.0 if retry_at is None else retry_at + WINDOW_SECONDS - now,
    )
