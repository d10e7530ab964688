"""How a key stands, on every answer that it gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ai_core.access.limits.ledger import Allowance
from ai_core.access.limits.refusal import RateLimited
from ai_core.errors import NeoError

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Standing:
    """What is known about this minute; None: there is no such limit, or Redis is away."""

    requests: Allowance | None = None
    tokens: Allowance | None = None

    def note(self, error: NeoError) -> None:
        """A refusal tells how the key stands, too."""
        if isinstance(error, RateLimited):
            self.requests = error.requests or self.requests
            self.tokens = error.tokens or self.tokens


def rate_headers(standing: Standing) -> list[Header]:
    """``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` for requests: the last one in whole seconds until
    more remain. And both kinds by the names that OpenAI has for them:
    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    headers: list[Header] = []
    if standing.requests is not None:
        headers += [
            (b"x-ratelimit-limit", b"%d" % standing.requests.limit),
            (b"x-ratelimit-remaining", b"%d" % standing.requests.remaining),
            (b"x-ratelimit-reset", b"%d" % math.ceil(standing.requests.reset_after)),
        ]
        headers += _named(b"requests", standing.requests)
    if standing.tokens is not None:
        headers += _named(b"tokens", standing.tokens)
    return headers


def _named(what: bytes, allowance: Allowance) -> list[Header]:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % allowance.limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % allowance.remaining),
        (b"x-ratelimit-reset-" + what, b"%.3gs" % allowance.reset_after),
    ]
