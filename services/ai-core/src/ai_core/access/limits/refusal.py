"""What a caller is told who has used all that their key allows."""

from __future__ import annotations

import math

from ai_core.access.limits.ledger import Allowance, Kind
from ai_core.errors import NeoError


class RateLimited(NeoError):
    """The key has used what it may; ``retry_after`` tells when there is room again.

    ``tokens`` tells how the tokens of this minute stand, ``requests`` the same of requests, if known.
    """

    code = "rate_limit_exceeded"

    def __init__(
        self,
        kind: Kind,
        message: str,
        retry_after: float,
        *,
        requests: Allowance | None = None,
        tokens: Allowance | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.kind = kind
        self.requests = requests
        self.tokens = tokens


def too_many_requests(allowance: Allowance) -> RateLimited:
    """Of this minute."""
    return RateLimited(
        Kind.REQUESTS_PER_MINUTE,
        f"This API key may send {_many(allowance.limit, 'request')} a minute. "
        f"Try again in {_seconds(allowance.retry_after)}.",
        allowance.retry_after,
        requests=allowance,
    )


def too_many_tokens(allowance: Allowance, wanted: int) -> RateLimited:
    """Of this minute."""
    return RateLimited(
        Kind.TOKENS_PER_MINUTE,
        f"This API key may use {_many(allowance.limit, 'token')} a minute; {allowance.remaining} are left, "
        f"and this request may need {wanted}. Try again in {_seconds(allowance.retry_after)}, or lower "
        "'max_tokens'.",
        allowance.retry_after,
        tokens=allowance,
    )


def day_used_up(limit: int, wanted: int, retry_after: float, tokens: Allowance | None) -> RateLimited:
    """The budget of a day does not suffice for what is wanted."""
    return RateLimited(
        Kind.TOKENS_PER_DAY,
        f"This API key may use {_many(limit, 'token')} a day, and too few are left for this request, "
        f"which may need {wanted}. The next day begins at midnight UTC, in {_seconds(retry_after)}.",
        retry_after,
        tokens=tokens,
    )


def too_many_at_once(limit: int, retry_after: float, tokens: Allowance | None) -> RateLimited:
    """Others of this key are being answered."""
    return RateLimited(
        Kind.CONCURRENT_REQUESTS,
        f"This API key may have {_many(limit, 'request')} answered at once. "
        f"Wait for one to end, or try again in {_seconds(retry_after)}.",
        retry_after,
        tokens=tokens,
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _seconds(seconds: float) -> str:
    """Rounded up, as the header is: who comes back then is not too early."""
    return f"{max(1, math.ceil(seconds))} s"
