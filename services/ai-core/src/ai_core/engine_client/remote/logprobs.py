"""OpenAI's log probabilities as ours. Pure."""

from __future__ import annotations

import math
from typing import Any

from ai_core.engine.messages import Alternative, TokenLogprob
from ai_core.engine_client.remote.wire import Nonsense, list_in

LEAST = -9999.0
"""What OpenAI says of tokens that are very unlikely; JSON has no infinity."""


def entries_of(choice: dict[str, Any]) -> list[TokenLogprob]:
    """Those of one chunk of a chat. Raises Nonsense."""
    logprobs = choice.get("logprobs")
    return [_entry(one) for one in list_in(logprobs, "content")] if isinstance(logprobs, dict) else []


def _entry(one: Any) -> TokenLogprob:
    token, logprob = _token(one)
    return TokenLogprob(
        token, logprob, False, [Alternative(*_token(top)) for top in list_in(one, "top_logprobs")]
    )


def _token(one: Any) -> tuple[bytes, float]:
    if not isinstance(one, dict):
        raise Nonsense("a token's log probability is no object")
    text, logprob = one.get("token"), one.get("logprob")
    if not isinstance(text, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise Nonsense("a token's log probability lacks 'token' or 'logprob'")
    try:
        token = bytes(list_in(one, "bytes")) or text.encode()
    except (TypeError, ValueError) as error:
        raise Nonsense("the bytes of a token are none") from error
    return token, min(float(logprob), 0.0) if math.isfinite(logprob) else LEAST
