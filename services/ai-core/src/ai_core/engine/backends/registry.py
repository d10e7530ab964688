"""Backends by name. Each is imported only when an engine process is started with it."""

from __future__ import annotations

from collections.abc import Callable

from ai_core.engine.backends.loading import CannotLoad, Loaded, LoadedEmbedder, Loader
from ai_core.engine.messages import EngineConfig


def _llama_cpp(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded | LoadedEmbedder:
    from ai_core.engine.backends.llama_cpp.load import load

    return load(config, on_progress)


def _scripted(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    from ai_core.engine.backends.scripted import load

    backend, vocabulary = load(config)
    on_progress(1.0)
    return Loaded(backend, vocabulary, "answers at once, without a model")


LOADERS: dict[str, Loader] = {"llama_cpp": _llama_cpp, "scripted": _scripted}


def load(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded | LoadedEmbedder:
    """Load with the backend that the configuration names.

    Raises:
        CannotLoad: no such backend, or the model cannot be served by it.
    """
    loader = LOADERS.get(config.backend)
    if loader is None:
        known = ", ".join(sorted(LOADERS))
        raise CannotLoad(f"there is no backend named {config.backend!r}; known are {known}")
    return loader(config, on_progress)
