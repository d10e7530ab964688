"""Telegram's limits on what a bot sends. Edits count; a call inside a penalty prolongs it. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from tests.emulators.telegram.refusal import too_many

PER_CHAT = (1, 1.0)
"""Messages, seconds: "avoid sending more than one message per second"; short bursts pass."""
CHAT_BURST = 5
PER_GROUP = (20, 60.0)
OVERALL = (30, 1.0)
PENALTY_SECONDS = 3.0


@dataclass
class Bucket:
    """Lets some calls through at once, and then so many per second."""

    size: float
    per_second: float
    level: float = 0.0
    at: float = 0.0

    def over(self, now: float) -> float:
        """Count a call; seconds until it would have been in order, 0 if it is."""
        self.level = max(0.0, self.level - (now - self.at) * self.per_second)
        self.at = now
        if self.level + 1 > self.size:
            return (self.level + 1 - self.size) / self.per_second
        self.level += 1
        return 0.0


@dataclass
class Window:
    """At most so many calls in any stretch of so many seconds."""

    most: int
    seconds: float
    calls: deque[float] = field(default_factory=deque)

    def over(self, now: float) -> float:
        """As :meth:`Bucket.over`."""
        while self.calls and self.calls[0] <= now - self.seconds:
            self.calls.popleft()
        if len(self.calls) >= self.most:
            return self.calls[0] + self.seconds - now
        self.calls.append(now)
        return 0.0


class FloodControl:
    """What one bot has sent lately."""

    def __init__(self) -> None:
        self.refused = 0
        """How often it said no."""
        self._overall = Window(*OVERALL)
        self._chats: dict[int, Bucket | Window] = {}
        self._penalties: dict[int, float] = {}

    def admit(self, chat_id: int, now: float) -> None:
        """Count a message or an edit. Raises Refusal 429, after which the chat is closed for a while."""
        until = self._penalties.get(chat_id, 0.0)
        if now < until:
            self.refused += 1
            self._penalties[chat_id] = until + PENALTY_SECONDS
            raise too_many(math.ceil(until + PENALTY_SECONDS - now))
        over = max(self._overall.over(now), self._chat(chat_id).over(now))
        if over > 0:
            self.refused += 1
            wait = math.ceil(over + PENALTY_SECONDS)
            self._penalties[chat_id] = now + wait
            raise too_many(wait)

    def _chat(self, chat_id: int) -> Bucket | Window:
        if chat_id not in self._chats:
            calls, seconds = PER_CHAT
            is_group = chat_id < 0
            self._chats[chat_id] = Window(*PER_GROUP) if is_group else Bucket(CHAT_BURST, calls / seconds)
        return self._chats[chat_id]
