"""How much people may do: decided once for each message, when it comes in.

There, and not when a worker takes it up: a thousand messages at once would else wait in the queue before they
are refused. What was decided is stored with the message (an admitted one is an open entry of the journal, a
refused one is closed with its reason, or waits for the one sentence that says so), so nobody decides again
after a crash.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from servicekit.key_value.embedded_limits import EmbeddedLimits
from servicekit.key_value.limits import Bucket, Limits
from servicekit.storage.sealing import PlainSeal
from telegram_service.dialogue.incoming import Incoming, Joined, Left
from telegram_service.dialogue.refusal import Limit, Refusal
from telegram_service.hot_keys import HotKeys

RELIEF_SECONDS = 15.0
"""Whoever is refused waits so long at least: then a quarter of a minute's messages may come at once again,
and who goes on too fast is not told so with every other message."""
_OVERALL = "everybody:rate_limit"
_AT_ONCE = 1e9
"""Tokens per second of a bucket that is always full, but for the time for which it was shut."""


@dataclass(frozen=True, slots=True)
class Rules:
    """0: no limit."""

    messages_per_minute: int = 0
    """Of one person; as many may come at once."""
    overall_per_minute: int = 0
    """Of all together; as many may come at once."""
    tokens_per_day: int = 0
    """Read and written by the AI core for one person, by the days of UTC."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not worked on."""

    refusal: Refusal
    tell: bool
    """Whether its sender has still to be told; everything else until then is passed over in silence."""


class Allowance:
    """One for the process. While Redis is away, limits hold for this process alone: nobody is silenced
    because a server is gone. Nothing here raises, but :meth:`forget`."""

    def __init__(self, limits: Limits, keys: HotKeys, rules: Rules, clock: Callable[[], datetime]) -> None:
        """``limits`` raises StoreUnavailable at most when it is to forget (``EnduringLimits``)."""
        self._limits = limits
        self._keys = keys
        self._rules = rules
        self._clock = clock

    async def admit(self, incoming: Incoming) -> Refused | None:
        """None: it is to be worked on. Asked again about the same update within some minutes, the answer is
        the same, and nothing is charged."""
        if isinstance(incoming.content, Joined | Left):
            return None
        refused = await self._too_many(incoming)
        if refused is None and not incoming.is_control:
            refused = await self._used_up(incoming)
        return refused

    async def charge(self, person_id: int, item: str, tokens: int) -> None:
        """An answer has cost so many tokens; once for each ``item``, however often it is said."""
        if self._rules.tokens_per_day:
            key = self._keys.tokens(person_id, self._clock().date())
            await self._limits.count(key, item, tokens, timedelta(days=1).total_seconds())

    async def known_of(self, person_id: int) -> dict[str, int]:
        """What is counted for somebody that says something about them."""
        return {
            "tokens_today": await self._limits.counted(self._keys.tokens(person_id, self._clock().date()))
        }

    async def forget(self, person_id: int) -> None:
        """Delete all that is known of somebody. Raises StoreUnavailable while Redis is away: it would still
        be there when Redis is back."""
        await self._limits.forget(*self._keys.limits_of_person(person_id, self._clock().date()))

    async def _too_many(self, incoming: Incoming) -> Refused | None:
        # Who has too many questions under way can still stop them, so commands have a bucket of their own.
        kind = ":control" if incoming.is_control else ""
        person_id, rules, once = incoming.sender.id, self._rules, str(incoming.update_id)
        gate = self._keys.of_person(person_id, f"told{kind}")
        wait, limit = 0.0, Limit.MESSAGES
        if rules.messages_per_minute:
            own = _bucket(self._keys.of_person(person_id, f"rate_limit{kind}"), rules.messages_per_minute)
            wait = await self._limits.take([own, Bucket(gate, _AT_ONCE, 1)], once=once)
        if not wait and rules.overall_per_minute:
            limit = Limit.OVERALL
            everybody = _bucket(_OVERALL, rules.overall_per_minute)
            wait = await self._limits.take([everybody, Bucket(gate, _AT_ONCE, 1)], once=f"all {once}")
        if not wait:
            return None
        return await self._refused(limit, max(wait, RELIEF_SECONDS), gate, once)

    async def _used_up(self, incoming: Incoming) -> Refused | None:
        now = self._clock().astimezone(UTC)
        tokens = self._keys.tokens(incoming.sender.id, now.date())
        if not self._rules.tokens_per_day or await self._limits.counted(tokens) < self._rules.tokens_per_day:
            return None
        tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        gate = self._keys.of_person(incoming.sender.id, "told:tokens")
        return await self._refused(
            Limit.TOKENS, (tomorrow - now).total_seconds(), gate, str(incoming.update_id)
        )

    async def _refused(self, limit: Limit, seconds: float, gate: str, once: str) -> Refused:
        """Shut the gate, unless it is: whoever shuts it tells."""
        shut = Bucket(gate, 1 / seconds, 1)
        tell = await self._limits.take([shut], once=f"told {once}") == 0
        return Refused(Refusal(limit, math.ceil(seconds)), tell)


def unlimited(clock: Callable[[], datetime]) -> Allowance:
    """For everybody as much as they like."""
    return Allowance(EmbeddedLimits(), HotKeys(PlainSeal()), Rules(), clock)


def _bucket(key: str, per_minute: int) -> Bucket:
    return Bucket(key, per_second=per_minute / 60, burst=per_minute)
