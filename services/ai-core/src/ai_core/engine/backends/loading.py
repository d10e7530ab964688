"""What loading a model gives, or why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_core.engine.backends.adapter_port import Adapters
from ai_core.engine.backends.embedding_port import Embedder
from ai_core.engine.backends.port import Backend, Vocabulary
from ai_core.engine.messages import EngineConfig


class CannotLoad(Exception):
    """The model cannot be served; the text is written for the operator."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend ready to compute, and what there is to say about its model."""

    backend: Backend
    vocabulary: Vocabulary
    description: str
    parameters: int = 0
    weights_bytes: int = 0
    adapters: Adapters | None = None
    """LoRA adapters, where they can be loaded and unloaded while the backend runs."""


@dataclass(frozen=True, slots=True)
class LoadedEmbedder:
    """The same for an embedding model."""

    embedder: Embedder
    vocabulary: Vocabulary
    description: str
    parameters: int = 0
    weights_bytes: int = 0


Loader = Callable[[EngineConfig, Callable[[float], None]], Loaded | LoadedEmbedder]
"""Loads a model; calls back with progress from 0 to 1. Raises :class:`CannotLoad`."""
