"""The vocabulary of a GGUF file, read without llama.cpp: the same ids, pieces and control tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ai_core.engine.backends.gguf_file import BadGguf
from ai_core.engine.backends.hf_vocabulary import HfVocabulary
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import GgufVocabulary, Model
from ai_core.engine.backends.loading import CannotLoad
from ai_core.engine.backends.openvino.gguf_model import read_gguf
from ai_core.engine.backends.openvino.gguf_vocabulary import EXPRESSIONS, vocabulary_of
from ai_core_service import DEMO_MODEL
from gguf_twin import write_q8_0_twin


@dataclass(frozen=True)
class Pair:
    ours: HfVocabulary
    theirs: GgufVocabulary


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    """One file for each way of cutting words."""
    forward_llama_logs("error")
    models: list[Model] = []
    found: dict[str, Pair] = {}
    for way in ("qwen2", "llama-bpe", "gpt-2"):
        path = tmp_path_factory.mktemp("vocabularies") / f"{way}.gguf"
        write_q8_0_twin(DEMO_MODEL, path, tokenizer_ggml_pre=way)
        models.append(Model(path, lambda _: None))
        found[way] = Pair(vocabulary_of(read_gguf(path).metadata, str(path)), models[-1].vocabulary)
    yield found
    for model in models:
        model.close()


def known(character: str) -> bool:
    """Whether both libraries' tables are old enough to agree on what a character is."""
    return unicodedata.category(character) not in ("Cn", "Cs")


CHARACTERS = st.characters().filter(known)
# fmt: off
PIECES = st.sampled_from([
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im", "l'homme", "'S", "'ll", "'RE", " ", "  ", "\n",
    "\r\n", "\t", "1234", "é", "œuvre", "😀", "👨\u200d👩", "中文", "\xa0", "\u0301", "½", "ǅ", "...", "-",
])
# fmt: on
TEXTS = st.lists(PIECES | st.text(CHARACTERS, max_size=4), max_size=10).map("".join)


@given(TEXTS, st.sampled_from(["qwen2", "llama-bpe", "gpt-2"]), st.booleans())
@example("  x\n\n y<|im_end|>\n", "qwen2", True)
@example("12345678 '", "llama-bpe", False)
def test_ids_are_those_of_llama_cpp(pairs: dict[str, Pair], text: str, way: str, parse_special: bool) -> None:
    pair = pairs[way]
    expected = pair.theirs.encode(text, add_bos=False, parse_special=parse_special)
    assert pair.ours.encode(text, add_bos=False, parse_special=parse_special) == expected


def test_pieces_ends_controls_and_template_are_those_of_llama_cpp(pairs: dict[str, Pair]) -> None:
    ours, theirs = pairs["qwen2"].ours, pairs["qwen2"].theirs
    assert ours.size == theirs.size
    for token in range(theirs.size):
        assert (ours.piece(token), ours.shown(token)) == (theirs.piece(token), theirs.shown(token))
    assert ours.end_tokens == theirs.end_tokens
    assert ours.control_texts == theirs.control_texts
    assert ours.chat_template == theirs.chat_template
    assert ours.eos_text == theirs.eos_text


def test_what_cannot_be_done_exactly_is_refused_with_what_to_do() -> None:
    metadata = dict(read_gguf(DEMO_MODEL).metadata)
    for changed in ({"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "chatglm-bpe"}):
        with pytest.raises(CannotLoad, match=r"model\.gguf has a tokenizer .*use the engine llama\.cpp"):
            vocabulary_of(metadata | changed, "model.gguf")
    del metadata["tokenizer.ggml.merges"]
    with pytest.raises(CannotLoad, match="no complete tokenizer"):
        vocabulary_of(metadata, "model.gguf")
    assert set(EXPRESSIONS) >= {"qwen2", "llama-bpe"}


@pytest.mark.parametrize("length", [1, 4, 23, 24, 200, 3_000, 40_000])
def test_a_file_that_is_cut_in_its_header_is_no_model(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(DEMO_MODEL.read_bytes()[:length])
    with pytest.raises(BadGguf, match=r"it (ends|does not|claims)"):
        read_gguf(path)
