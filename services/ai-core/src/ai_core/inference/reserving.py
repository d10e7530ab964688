"""What a request may need at most, reserved from what its key may use."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import msgspec

from ai_core.access.caller import KeyLimits
from ai_core.access.limits.limiter import Reservation
from ai_core.inference.requests import REST_OF_CONTEXT, GenerationRequest

BYTES_PER_TOKEN = 4
"""Of UTF-8. A guess until the engine has counted; what was too much is given back."""
TOKENS_PER_MESSAGE = 4
"""What chat templates put around each."""

Reserve = Callable[[str, KeyLimits, int], AbstractAsyncContextManager[Reservation]]
"""Given the id of a key, its limits, and tokens. As ``access.limits.limiter.Limiter.reserve``."""

_encode = msgspec.json.Encoder().encode


@asynccontextmanager
async def reserve_nothing(_key_id: str, _limits: KeyLimits, _tokens: int) -> AsyncIterator[Reservation]:
    """Where nobody counts."""
    yield Reservation()


def limits_of(request: GenerationRequest) -> KeyLimits:
    """Several answers to one prompt are one request of the key's."""
    return replace(request.limits, concurrent_requests=None) if request.choice else request.limits


def worst_case(request: GenerationRequest) -> int:
    """Tokens of the prompt, which only the first of several answers to it has, and all that may come."""
    answer = REST_OF_CONTEXT if request.max_tokens is None else request.max_tokens
    return answer if request.choice else answer + _prompt_tokens(request)


def tokens_in(inputs: Sequence[str | Sequence[int]]) -> int:
    """Of texts, or of what is tokens already."""
    return sum(_tokens(text) if isinstance(text, str) else len(text) for text in inputs)


def _prompt_tokens(request: GenerationRequest) -> int:
    tools = _encode(request.chat.tools).decode() if request.chat.tools else ""
    messages = request.messages or ()
    said = sum(_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)
    return said + _tokens(request.prompt or "") + _tokens(tools)


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)
