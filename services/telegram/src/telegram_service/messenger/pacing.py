"""When the next call may be made, by Telegram's limits. Pure: times are given.

One message per second in a chat, twenty a minute in a group, thirty a second in all; edits count
(https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this). We stay a little below.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CHAT_GAP = 1.1
GROUP_GAP = 3.2
OVERALL_GAP = 1 / 28
BURST = 2
"""Of one chat: the parts of a long answer need not wait at the beginning."""


@dataclass
class Pacer:
    """One bot's calls. Whoever asks gets a time, and is expected to call then."""

    overall_at: float = 0.0
    """When the next call of all may be made."""
    chats: dict[int, float] = field(default_factory=dict)
    """By chat: when its burst is used up, counted on from call to call."""
    silent_until: dict[int, float] = field(default_factory=dict)
    """By chat: Telegram asked for silence there."""

    def book(self, chat_id: int, now: float) -> float:
        """The time of a call that shall be made as soon as possible, ``now`` or later."""
        gap = GROUP_GAP if chat_id < 0 else CHAT_GAP
        due = max(self.chats.get(chat_id, 0.0), now - gap * (BURST - 1))
        at = max(now, due, self.overall_at, self.silent_until.get(chat_id, 0.0))
        self.chats[chat_id] = max(due, at - gap * (BURST - 1)) + gap
        self.overall_at = max(self.overall_at, now) + OVERALL_GAP
        return at

    def may_edit(self, chat_id: int, now: float) -> bool:
        """Whether a call that can as well be left out would be in time just now."""
        due = self.chats.get(chat_id, 0.0)
        return now >= max(due, self.overall_at, self.silent_until.get(chat_id, 0.0))

    def silence(self, chat_id: int, seconds: float, now: float) -> None:
        """Telegram refused a call and asked for this."""
        self.silent_until[chat_id] = max(self.silent_until.get(chat_id, 0.0), now + seconds)

    def forget_idle(self, now: float) -> None:
        """Drop chats that nothing is known of any more that matters."""
        for times in (self.chats, self.silent_until):
            for chat_id in [chat_id for chat_id, at in times.items() if at < now - 60]:
                del times[chat_id]
