"""What a GGUF file is served as."""

from __future__ import annotations

from typing import Any

import pytest

from ai_core.engine.backends.llama_cpp.kind import Embedding, Generation, kind_of
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.messages import EngineConfig

CHAT: dict[str, str] = {"general.architecture": "qwen3"}
BERT = {"general.architecture": "bert", "bert.attention.causal": "false"}


def kind(metadata: dict[str, str], **config: Any) -> Generation | Embedding:
    return kind_of(metadata.get, EngineConfig(model_path="model.gguf", **config))


def test_a_model_without_pooling_generates() -> None:
    assert kind(CHAT) == Generation()
    assert kind(CHAT | {"qwen3.pooling_type": "0"}) == Generation()


@pytest.mark.parametrize(("stored", "pooling"), [("1", "mean"), ("2", "cls"), ("3", "last")])
def test_a_model_that_says_how_it_pools_embeds(stored: str, pooling: Any) -> None:
    assert kind(CHAT | {"qwen3.pooling_type": stored}) == Embedding(pooling)
    assert kind(BERT | {"bert.pooling_type": stored}) == Embedding(pooling)


def test_the_operators_word_goes_first() -> None:
    pools = CHAT | {"qwen3.pooling_type": "3"}
    assert kind(pools, kind="generation") == Generation()
    assert kind(pools, pooling="mean") == Embedding("mean")
    assert kind(CHAT, kind="embedding", pooling="last") == Embedding("last")
    assert kind(BERT, pooling="cls") == Embedding("cls")


def test_an_encoder_that_does_not_say_how_it_pools_is_not_guessed_at() -> None:
    for metadata, config in ((BERT, {}), (CHAT, {"kind": "embedding"})):
        with pytest.raises(CannotLoad, match="'pooling'"):
            kind(metadata, **config)


def test_an_encoder_cannot_generate() -> None:
    with pytest.raises(CannotLoad, match="no generation"):
        kind(BERT | {"bert.pooling_type": "1"}, kind="generation")


def test_rerankers_are_refused_by_name() -> None:
    with pytest.raises(CannotLoad, match="reranker"):
        kind(BERT | {"bert.pooling_type": "4"})
