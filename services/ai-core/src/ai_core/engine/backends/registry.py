"""Backends by name. Each is imported only when an engine process is started with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ai_core.engine.backends.loading import CannotLoad, Loaded, LoadedEmbedder, Loader
from ai_core.engine.messages import EngineConfig


@contextmanager
def _optional(command: str) -> Iterator[None]:
    """Around the import of a backend whose packages are an extra that ``command`` installs."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise CannotLoad(f"this model needs the package {package}: run `{command}` to install it") from error


def _llama_cpp(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded | LoadedEmbedder:
    with _optional("make llama"):
        from ai_core.engine.backends.llama_cpp.load import load

    return load(config, on_progress)


def _scripted(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    from ai_core.engine.backends.scripted import load

    backend, vocabulary = load(config)
    on_progress(1.0)
    return Loaded(backend, vocabulary, "answers at once, without a model")


def _openvino(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    with _optional("make openvino"):
        from ai_core.engine.backends.openvino.load import load

    return load(config, on_progress)


def _refuse_embeddings(config: EngineConfig) -> None:
    if config.kind == "embedding":
        raise CannotLoad("embedding models are served from GGUF files only; this one has another format")


def _transformers(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    _refuse_embeddings(config)
    with _optional("make transformers"):
        from ai_core.engine.backends.hf_vocabulary import vocabulary_of
        from ai_core.engine.backends.transformers.folder import open_folder

        # Before the import of torch, which takes seconds: what is broken is said at once.
        folder = open_folder(Path(config.model_path))
        vocabulary = vocabulary_of(folder.path)
        from ai_core.engine.backends.transformers.load import load

    return load(config, folder, vocabulary, on_progress)


def _onnxruntime(config: EngineConfig, on_progress: Callable[[float], None]) -> Loaded:
    _refuse_embeddings(config)
    with _optional("make onnx"):
        from ai_core.engine.backends.onnxruntime.load import load

    return load(config, on_progress)


LOADERS: dict[str, Loader] = {
    "llama_cpp": _llama_cpp,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "scripted": _scripted,
    "transformers": _transformers,
}


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
