"""Why a message is not worked on, and when the next one will be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """What is used up."""

    MESSAGES = "messages"
    """Somebody's own, of this minute."""
    OVERALL = "overall"
    """Everybody's together."""
    TOKENS = "tokens"
    """Somebody's, of this day."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that is in the way."""

    limit: Limit
    seconds: int
    """After which messages are worked on again; 1 or more."""
