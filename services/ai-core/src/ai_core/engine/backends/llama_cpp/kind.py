"""What a GGUF file is for, from its metadata and what the operator says about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_core.engine.backends.embedding_port import Pooling
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.messages import EngineConfig

_POOLING_TYPES: dict[str, Pooling] = {"1": "mean", "2": "cls", "3": "last"}
"""``LLAMA_POOLING_TYPE_*`` in llama.h, as ``{architecture}.pooling_type`` holds them."""
_RANK = "4"

Metadata = Callable[[str], str | None]
"""Looks up a key in a GGUF file: ``general.architecture``."""


@dataclass(frozen=True, slots=True)
class Generation:
    """It continues texts."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """It makes one vector of a text."""

    pooling: Pooling


def kind_of(metadata: Metadata, config: EngineConfig) -> Generation | Embedding:
    """How this file is to be served.

    A model that pools by itself, or that looks at a text in both directions, is there for embeddings;
    whatever the operator says goes first.

    Raises:
        CannotLoad: a reranker; or an embedding model of which nobody says how it pools.
    """
    architecture = metadata("general.architecture") or ""
    stored = metadata(f"{architecture}.pooling_type")
    if stored == _RANK:
        raise CannotLoad(f"{config.model_path} is a reranker, which this server does not serve yet")
    pooling = _POOLING_TYPES.get(stored or "")
    encodes = metadata(f"{architecture}.attention.causal") == "false" or architecture == "t5encoder"
    if config.kind == "generation" and encodes:
        raise CannotLoad(f"{config.model_path} reads whole texts and cannot continue them: no generation")
    if config.kind == "generation" or (config.kind == "auto" and pooling is None and not encodes):
        return Generation()
    chosen = pooling if config.pooling == "auto" else config.pooling
    if chosen is None:
        raise CannotLoad(
            f"{config.model_path} does not say how its embeddings are pooled: set 'pooling' to mean, cls or "
            "last in the models file, as the model's authors tell"
        )
    return Embedding(chosen)
