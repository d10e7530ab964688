"""What a trace says of a request: names and numbers, after OpenTelemetry's conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and …/gen-ai/gen-ai-spans/; never a prompt, an
answer, an address or a key. Pure: ``trace_export`` sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PROVIDER = "neo"
OPERATIONS = {
    "/api/v1/chat": "chat",
    "/v1/chat/completions": "chat",
    "/api/v1/generate": "text_completion",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
"""What is asked of a model on a route, in the words of the conventions."""
_NUMBERS = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_prompt_tokens": "gen_ai.usage.cache_read.input_tokens",
    "first_token_seconds": "gen_ai.response.time_to_first_chunk",
    "queue_seconds": "neo.queue_seconds",
}

Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that has ended. Times in nanoseconds since 1970."""

    method: str
    route: str
    status: int
    request_id: str
    began: int
    ended: int
    error: str | None = None
    """The code, if it failed."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As in the log line."""
    traceparent: str | None = None
    """The caller's own span: https://www.w3.org/TR/trace-context/"""


class Tracing(Protocol):
    """Where traces go."""

    def record(self, request: RequestRecord) -> None:
        """Take note of a request; returns at once, whatever happens to what is noted."""


def span_name(request: RequestRecord) -> str:
    """Of the whole request."""
    return f"{request.method} {request.route}"


def http_attributes(request: RequestRecord) -> dict[str, Value]:
    """Of the whole request."""
    attributes: dict[str, Value] = {
        "http.request.method": request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "neo.request_id": request.request_id,
    }
    if key_id := request.facts.get("key_id"):
        attributes["neo.key_id"] = key_id
    if failed := failure(request):
        attributes["error.type"] = failed
    return attributes


def failure(request: RequestRecord) -> str | None:
    """Why it failed: a code, or the status."""
    return request.error or (str(request.status) if request.status >= 400 else None)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """The part of a request that a model worked on."""

    name: str
    attributes: Mapping[str, Value]


def model_call(request: RequestRecord) -> ModelCall | None:
    """What was asked of a model; None where it did not come to that."""
    model, operation = request.facts.get("model"), OPERATIONS.get(request.route)
    if not isinstance(model, str) or operation is None:
        return None
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": request.request_id,
    }
    for fact, name in _NUMBERS.items():
        number = request.facts.get(fact)
        if isinstance(number, int | float):
            attributes[name] = number
    if reason := request.facts.get("finish_reason"):
        attributes["gen_ai.response.finish_reasons"] = (str(reason),)
    if failed := failure(request):
        attributes["error.type"] = failed
    return ModelCall(f"{operation} {model}", attributes)
