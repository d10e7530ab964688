"""What the models file says for requests that leave something out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import ChatMessage
from ai_core.inference.requests import GenerationRequest

_SEEDS = 2**32


def with_defaults(request: GenerationRequest, entry: ModelEntry) -> GenerationRequest:
    """The request as this model gets it: with the model's sampling where the caller says nothing, and with
    its system prompt where the conversation has none."""
    return _with_system_prompt(with_sampling(request, entry.sampling), entry.system_prompt)


def with_sampling(request: GenerationRequest, defaults: Mapping[str, float | int]) -> GenerationRequest:
    """``defaults`` by the API's names, ``max_tokens`` among them, but for what the caller has ``given``."""
    missing: dict[str, Any] = {name: value for name, value in defaults.items() if name not in request.given}
    if not missing:
        return request
    max_tokens = missing.pop("max_tokens", request.max_tokens)
    if "seed" in missing:
        # As where callers give one: each of several choices has its own.
        missing["seed"] = (missing["seed"] + request.choice) % _SEEDS
    sampling = msgspec.structs.replace(request.sampling, **missing)
    return replace(request, sampling=sampling, max_tokens=max_tokens)


def _with_system_prompt(request: GenerationRequest, prompt: str) -> GenerationRequest:
    messages = request.messages
    if not prompt or messages is None or any(message.role == "system" for message in messages):
        return request
    return replace(request, messages=[ChatMessage("system", prompt), *messages])
