"""Embeddings by llama.cpp are those of transformers with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ai_core.engine.backends.embedding_port import Vectors
from ai_core.engine.backends.llama_cpp.embedder import CALL_ROWS, LOGITS_BYTES, causal_rows
from ai_core.engine.backends.loading import CannotLoad, Loaded, LoadedEmbedder
from ai_core.engine.backends.registry import load
from ai_core.engine.messages import EngineConfig
from ai_core.engine.tokens import Tokens
from ai_core_service import DEMO_MODEL
from embedding_models import CONTEXT, HIDDEN, TEXTS, TOKENS, hidden_states, wordpieces, write_tiny_bert
from gguf_twin import demo_recipe, write_f32_twin

Load = Callable[..., LoadedEmbedder]


@pytest.fixture
def load_model() -> Iterator[Load]:
    """Loads embedding models, and frees them at the end."""
    with ExitStack() as stack:

        def load_one(path: Path, **config: Any) -> LoadedEmbedder:
            loaded = load(EngineConfig(model_path=str(path), threads=2, **config), lambda _: None)
            assert isinstance(loaded, LoadedEmbedder)
            stack.callback(loaded.embedder.close)
            return loaded

        yield load_one


def encoded(loaded: LoadedEmbedder, text: str) -> Tokens:
    return np.asarray(loaded.vocabulary.encode(text, add_bos=True, parse_special=False), np.int32)


def cosines(a: Vectors, b: Any) -> Any:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


POOLED: dict[str, tuple[gguf.PoolingType, Callable[[Any], Any]]] = {
    "mean": (gguf.PoolingType.MEAN, lambda states: states.mean(axis=0)),
    "cls": (gguf.PoolingType.CLS, lambda states: states[0]),
    "last": (gguf.PoolingType.LAST, lambda states: states[-1]),
}


@pytest.mark.parametrize("pooling", POOLED)
def test_an_encoders_vectors_are_those_of_transformers(
    pooling: str, load_model: Load, tmp_path: Path
) -> None:
    stored, pooled = POOLED[pooling]
    loaded = load_model(write_tiny_bert(tmp_path / "bert.gguf", stored))
    capabilities = loaded.embedder.capabilities()
    assert (capabilities.pooling, capabilities.dimensions) == (pooling, HIDDEN)
    inputs = [encoded(loaded, text) for text in TEXTS]
    assert [tokens.tolist() for tokens in inputs] == [wordpieces(text) for text in TEXTS]
    vectors = loaded.embedder.embed(inputs)
    reference = np.stack([pooled(hidden_states(tokens.tolist())) for tokens in inputs])
    assert cosines(vectors, reference).min() > 0.999
    # Random weights that made all texts alike would prove nothing.
    assert cosines(vectors[:1], reference[1:2]).max() < 0.99


@pytest.fixture
def demo_twin(tmp_path: Path) -> Any:
    """The demo model in transformers, without its head."""
    from transformers import AutoModel

    with demo_recipe() as to_transformers:
        to_transformers(DEMO_MODEL, tmp_path / "twin")
    return AutoModel.from_pretrained(tmp_path / "twin", dtype="float32")


def demo_states(twin: Any, tokens: Tokens) -> Any:
    import torch

    with torch.no_grad():
        return twin(torch.tensor([tokens.tolist()])).last_hidden_state[0].numpy()


def test_a_causal_models_vectors_are_those_of_transformers(
    load_model: Load, demo_twin: Any, tmp_path: Path
) -> None:
    path = tmp_path / "neo-f32.gguf"
    write_f32_twin(DEMO_MODEL, path, {"qwen3.pooling_type": int(gguf.PoolingType.LAST)})
    loaded = load_model(path)
    assert loaded.embedder.capabilities().pooling == "last"
    inputs = [encoded(loaded, text) for text in TEXTS]
    reference = np.stack([demo_states(demo_twin, tokens)[-1] for tokens in inputs])
    # Twice: what the first call left in the cache changes nothing.
    for _ in range(2):
        assert cosines(loaded.embedder.embed(inputs), reference).min() > 0.999


@pytest.mark.parametrize("pooling", POOLED)
def test_a_causal_model_reads_a_text_that_is_longer_than_a_call(
    pooling: str, load_model: Load, demo_twin: Any, tmp_path: Path
) -> None:
    path = tmp_path / "neo-f32.gguf"
    write_f32_twin(DEMO_MODEL, path)
    loaded = load_model(path, kind="embedding", pooling=pooling)
    capabilities = loaded.embedder.capabilities()
    tokens = np.resize(encoded(loaded, " ".join(TEXTS[:5])), capabilities.rows * 3 // 2)
    assert len(tokens) <= capabilities.context_length
    vector = loaded.embedder.embed([tokens])
    assert cosines(vector, POOLED[pooling][1](demo_states(demo_twin, tokens))[None]).min() > 0.999


def test_the_vocabulary_decides_how_much_a_causal_model_reads_at_once() -> None:
    assert causal_rows(4_096) == CALL_ROWS
    assert causal_rows(151_669) * 151_669 * 4 <= LOGITS_BYTES
    assert causal_rows(10_000_000) > 0


def test_a_text_has_the_same_vector_alone_and_among_others(load_model: Load, tmp_path: Path) -> None:
    loaded = load_model(write_tiny_bert(tmp_path / "bert.gguf"))
    inputs = [encoded(loaded, text) for text in TEXTS] * 3
    together = loaded.embedder.embed(inputs)
    alone = np.stack([loaded.embedder.embed([tokens])[0] for tokens in inputs])
    assert cosines(together, alone).min() > 0.999


def test_the_longest_text_fits_and_one_token_more_is_never_asked_for(
    load_model: Load, tmp_path: Path
) -> None:
    loaded = load_model(write_tiny_bert(tmp_path / "bert.gguf"), context_length=100_000)
    assert loaded.embedder.capabilities().context_length == CONTEXT
    longest = np.full(CONTEXT, TOKENS.index("travail"), np.int32)
    vector = loaded.embedder.embed([longest])
    assert cosines(vector, hidden_states(longest.tolist()).mean(axis=0)[None]).min() > 0.999


def test_control_texts_of_users_stay_text(load_model: Load, tmp_path: Path) -> None:
    loaded = load_model(write_tiny_bert(tmp_path / "bert.gguf"))
    tokens = encoded(loaded, "a [SEP] [CLS] b").tolist()
    assert tokens.count(TOKENS.index("[SEP]")) == 1
    assert tokens.count(TOKENS.index("[CLS]")) == 1


def test_a_model_that_does_not_say_how_it_pools_needs_the_operators_word(
    load_model: Load, tmp_path: Path
) -> None:
    path = write_tiny_bert(tmp_path / "bert.gguf", None)
    with pytest.raises(CannotLoad, match="pooling"):
        load_model(path)
    assert load_model(path, pooling="cls").embedder.capabilities().pooling == "cls"


def test_a_chat_model_embeds_only_when_told_to(load_model: Load, tmp_path: Path) -> None:
    loaded = load(EngineConfig(model_path=str(DEMO_MODEL), threads=2), lambda _: None)
    assert isinstance(loaded, Loaded)
    loaded.backend.close()
    embedder = load_model(DEMO_MODEL, kind="embedding", pooling="mean").embedder
    assert embedder.embed([np.arange(5, dtype=np.int32)]).shape[0] == 1
