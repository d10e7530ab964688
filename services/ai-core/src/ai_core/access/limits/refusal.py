"""What a caller is told who has used all that their key allows."""

from __future__ import annotations

import math

from ai_core.access.limits.ledger import Allowance, Kind
from ai_core.errors import NeoError


class RateLimited(NeoError):
    """The key has used what it may; ``retry_after`` tells when there is room again.

    Attributes:
        kind: the limit.
        requests: how the requests of this minute stand, if that is known.
        tokens: the same of tokens.
    """

    code = "rate_limit_exceeded"
    kind: Kind | None = None
    requests: Allowance | None = None
    tokens: Allowance | None = None


def too_many_requests(allowance: Allowance) -> RateLimited:
    """Of this minute."""
    error = RateLimited(
        f"This API key may send {_many(allowance.limit, 'request')} a minute. "
        f"Try again in {_seconds(allowance.retry_after)}.",
        retry_after=allowance.retry_after,
    )
    error.kind, error.requests = Kind.REQUESTS_PER_MINUTE, allowance
    return error


def too_many_tokens(allowance: Allowance, wanted: int) -> RateLimited:
    """Of this minute."""
    error = RateLimited(
        f"This API key may use {_many(allowance.limit, 'token')} a minute; {allowance.remaining} are left, "
        f"and this request may need {wanted}. Try again in {_seconds(allowance.retry_after)}, or lower "
        "'max_tokens'.",
        retry_after=allowance.retry_after,
    )
    error.kind, error.tokens = Kind.TOKENS_PER_MINUTE, allowance
    return error


def day_used_up(limit: int, wanted: int, retry_after: float, tokens: Allowance | None) -> RateLimited:
    """The budget of a day does not suffice for what is wanted."""
    error = RateLimited(
        f"This API key may use {_many(limit, 'token')} a day, and too few are left for this request, "
        f"which may need {wanted}. The next day begins at midnight UTC, in {_seconds(retry_after)}.",
        retry_after=retry_after,
    )
    error.kind, error.tokens = Kind.TOKENS_PER_DAY, tokens
    return error


def too_many_at_once(limit: int, retry_after: float, tokens: Allowance | None) -> RateLimited:
    """Others of this key are being answered."""
    error = RateLimited(
        f"This API key may have {_many(limit, 'request')} answered at once. "
        f"Wait for one to end, or try again in {_seconds(retry_after)}.",
        retry_after=retry_after,
    )
    error.kind, error.tokens = Kind.CONCURRENT_REQUESTS, tokens
    return error


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _seconds(seconds: float) -> str:
    """Rounded up, as the header is: who comes back then is not too early."""
    return f"{max(1, math.ceil(seconds))} s"
