"""What kinds of servers understand beyond OpenAI's own API, by the owner that ``GET /models`` names. Pure.

Servers ignore fields that they do not know. So what a server is not known to honour is refused here, with
the field's name, rather than sent and forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Extra = Literal[
    "top_k",
    "min_p",
    "repeat_penalty",
    "ignore_eos",
    "grammar",
    "chat_template_kwargs",
    "logit_bias",
    "logprobs",
    "tool_choice",
    "seed",
    "parallel_tool_calls",
]
"""Fields of ours that not every server honours."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server."""

    name: str
    names: Mapping[Extra, str]
    """Its names for the fields that it honours, where they need not be the same as ours."""
    asks_for_thoughts: bool = False
    """Thoughts come only on demand, by ``"reasoning": true``."""
    bound: str = "max_tokens"
    """Its name for the longest answer."""


def _same(*fields: Extra) -> dict[Extra, str]:
    return {field: field for field in fields}


_OPENAI = _same("logit_bias", "logprobs", "tool_choice", "seed", "parallel_tool_calls")
OPENAI = Dialect("openai", _OPENAI)
"""What is asked of servers that nobody knows."""
OPENAI_ITSELF = Dialect("openai", _OPENAI, bound="max_completion_tokens")
"""Its newer models refuse ``max_tokens``, which everybody else takes."""
NEO = Dialect(
    "neo",
    _OPENAI | _same("top_k", "min_p", "repeat_penalty", "ignore_eos", "grammar", "chat_template_kwargs"),
    asks_for_thoughts=True,
)
VLLM = Dialect(
    "vllm",
    _OPENAI
    | _same("top_k", "min_p", "ignore_eos", "chat_template_kwargs")
    | {"repeat_penalty": "repetition_penalty"},
)
"""https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"""
LLAMA_SERVER = Dialect(
    "llama-server",
    _OPENAI | _same("top_k", "min_p", "repeat_penalty", "ignore_eos", "grammar", "chat_template_kwargs"),
)
"""https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"""
OLLAMA = Dialect("ollama", _same("seed"))
"""https://docs.ollama.com/api/openai-compatibility lists what it takes."""

_SHOWN: tuple[Extra, ...] = (
    "grammar",
    "logprobs",
    "logit_bias",
    "repeat_penalty",
    "min_p",
    "seed",
    "ignore_eos",
)
"""Those that engines tell as missing, by the same names."""


def missing(dialect: Dialect) -> list[str]:
    """What requests may not ask of such a server, as ``messages.Ready.missing`` tells it. Adapters are
    chosen by the name of a model there."""
    return [*(field for field in _SHOWN if field not in dialect.names), "adapter"]


_BY_OWNER = {
    "neo": NEO,
    "vllm": VLLM,
    "llamacpp": LLAMA_SERVER,
    "library": OLLAMA,
    "openai": OPENAI_ITSELF,
    "openai-internal": OPENAI_ITSELF,
    "system": OPENAI_ITSELF,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of a model. ``context_length`` 0: nothing."""

    dialect: Dialect = OPENAI
    context_length: int = 0


def facts_of(listing: Any, model: str) -> Facts:
    """From the answer to ``GET /models``. Nothing is known of servers that list nothing legible; of one
    that does not list this model (it may take any name, or say itself what is wrong), its kind is."""
    models = listing.get("data") if isinstance(listing, dict) else None
    listed = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    if not listed:
        return Facts()
    found = next((one for one in listed if _means(one, model)), None)
    dialect = _BY_OWNER.get(str((found or listed[0]).get("owned_by")), OPENAI)
    return Facts(dialect, _context_length(found) if found is not None else 0)


def _means(listed: dict[str, Any], model: str) -> bool:
    # Ollama lists the tag that a name without one stands for.
    return listed.get("id") in (model, f"{model}:latest")


def _context_length(listed: dict[str, Any]) -> int:
    meta = listed.get("meta")
    of_llama = meta.get("n_ctx") if isinstance(meta, dict) else None
    for value in (listed.get("max_model_len"), listed.get("context_length"), of_llama):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31:
            return value
    return 0
