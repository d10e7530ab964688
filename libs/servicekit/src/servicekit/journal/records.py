"""What the journal remembers, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EntryState(StrEnum):
    """Of a message that came in. All but the first two are ends."""

    OPEN = "open"
    """Nothing is decided yet, or not everything: it will be tried (again)."""
    ANSWERED = "answered"
    """The whole answer is stored; its parts are being sent."""
    DONE = "done"
    """Every part of its answer is sent or unknown; or nothing was to be answered."""
    JOINED = "joined"
    """It was answered together with one that came before it."""
    DEAD = "dead"
    """It cannot be handled; the operator sees why, and may put it back."""


class PartState(StrEnum):
    """Of a piece of an answer that goes out on its own: a message of a chat, or a mail."""

    OPEN = "open"
    """Stored, and not sent."""
    SENDING = "sending"
    """The one call that cannot be repeated without a trace is under way, or was cut off."""
    STREAMING = "streaming"
    """It is out under an id of the other side, and may still be changed there."""
    SENT = "sent"
    """The other side has all of it."""
    UNKNOWN = "unknown"
    """The other side may have it or not, and it will not be sent again."""
    DROPPED = "dropped"
    """It was not sent, and will not be: nobody is there to read it."""


UNFINISHED = (PartState.OPEN, PartState.SENDING, PartState.STREAMING)
PENDING = (EntryState.OPEN, EntryState.ANSWERED)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a lane, until somebody claims it after the lease."""

    lane: str
    generation: int
    """Grows with each claim of this lane."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that came in."""

    id: int
    key: str
    """The same for a message that comes again."""
    lane: str
    state: EntryState
    payload: bytes
    received_at: datetime
    due_at: datetime
    """When it is to be looked at next."""
    attempts: int
    """How often somebody began to work on it."""
    reason: str
    """Why it was put off or given up; no text of users."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer."""

    id: int
    entry_id: int
    number: int
    """From 0, in the order in which parts go out."""
    state: PartState
    content: bytes
    external_id: str
    """What the other side calls it; empty while nobody knows."""
    repeats: int
    """How often it was sent anew after a call whose end nobody knows: copies that may be out."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits, for metrics and operators."""

    pending: int
    oldest: datetime | None
    """When the oldest pending entry came in; of one that was put off for a limit, when its time comes, and
    neither it nor what stands behind it counts before."""
    dead: int
    unsent_parts: int
    unknown_parts: int
    repeated_parts: int
    """Parts that went out more than once, as far as anybody can tell."""
    oldest_unsent: datetime | None
    """When the oldest entry came in whose answer is stored and not sent yet."""
