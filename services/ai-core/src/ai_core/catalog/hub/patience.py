"""How long to wait before the hub is asked again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 900.0
"""Seconds; who is told to come back later than that gets its Retry-After instead of a process that sleeps."""
_LONGEST_BACKOFF = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try in a row without a byte of progress."""

    attempts: int = 5

    def wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds to wait after the ``attempt``-th failure in a row (from 1); None: give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= LONGEST_WAIT else None
        return min(_LONGEST_BACKOFF, 2.0 ** (attempt - 1))


def retry_after_of(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None: it does not say.

    RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        return None
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
