"""Vocabularies from tokenizer.json read and write texts as llama.cpp does with the same model's GGUF file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

from ai_core.engine.backends.hf_vocabulary import HfVocabulary, vocabulary_of
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.loading import CannotLoad
from ai_core_service import DEMO_MODEL
from model_twins import ModelTwins, change_json, copy_of, replace

words = st.sampled_from(
    ["<|im_start|>", "<|im_end|>", "Qu'est-ce", " 12 000 €", "l'été", "😀👩‍👩‍👧", "\n\n", "  "]
)
texts = st.lists(words | st.text(max_size=12), max_size=8).map("".join)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    forward_llama_logs("error")
    loaded = Model(DEMO_MODEL, lambda _progress: None)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def vocabulary(twins: ModelTwins) -> HfVocabulary:
    return vocabulary_of(twins.safetensors)


@given(texts, st.booleans(), st.booleans())
def test_texts_become_the_same_tokens(
    model: Model, vocabulary: HfVocabulary, text: str, add_bos: bool, parse_special: bool
) -> None:
    # llama.cpp takes a text as UTF-8, where lone surrogates do not exist.
    text = text.encode(errors="ignore").decode()
    found = vocabulary.encode(text, add_bos=add_bos, parse_special=parse_special)
    assert found == model.vocabulary.encode(text, add_bos=add_bos, parse_special=parse_special)


@given(texts)
def test_tokens_become_the_text_again(vocabulary: HfVocabulary, text: str) -> None:
    text = text.encode(errors="ignore").decode()
    tokens = vocabulary.encode(text, add_bos=False, parse_special=False)
    assert b"".join(vocabulary.piece(token) for token in tokens).decode() == text


def test_all_that_is_known_of_a_token_is_the_same(model: Model, vocabulary: HfVocabulary) -> None:
    theirs = model.vocabulary
    assert vocabulary.size == theirs.size
    assert vocabulary.end_tokens == theirs.end_tokens
    assert vocabulary.control_texts == theirs.control_texts
    assert vocabulary.eos_text == theirs.eos_text
    assert vocabulary.chat_template == theirs.chat_template
    for token in range(theirs.size):
        assert vocabulary.piece(token) == theirs.piece(token)
        assert vocabulary.shown(token) == theirs.shown(token)


def test_ids_that_only_fill_up_the_models_vocabulary_say_nothing(vocabulary: HfVocabulary) -> None:
    assert vocabulary.piece(vocabulary.size + 5) == b""
    assert vocabulary.shown(vocabulary.size + 5) == b""


def sentence_piece() -> Tokenizer:
    """As Llama's and Mistral's: spaces are written as ▁, unknown bytes have tokens of their own."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(["Le contrat de travail est la loi des parties."] * 4, trainer)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = described["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


@pytest.fixture(scope="module")
def pieces() -> HfVocabulary:
    return HfVocabulary(sentence_piece(), bos="<s>", eos="</s>")


@given(texts)
def test_sentence_pieces_become_the_text_again(pieces: HfVocabulary, text: str) -> None:
    text = text.encode(errors="ignore").decode()
    tokens = pieces.encode(text, add_bos=False, parse_special=False)
    whole = b"".join(pieces.piece(token) for token in tokens).decode()
    assert whole == (" " + text if text else "").replace("▁", " ")


def test_a_sequence_begins_as_its_tokenizer_wants_it(pieces: HfVocabulary) -> None:
    assert pieces.encode("loi", add_bos=True, parse_special=True)[0] == 1
    assert pieces.encode("loi", add_bos=False, parse_special=True)[0] != 1
    without = HfVocabulary(sentence_piece(), bos="<s>", eos="</s>", adds_bos=False)
    assert without.encode("loi", add_bos=True, parse_special=True)[0] != 1
    assert pieces.end_tokens == {2}
    assert pieces.piece(2) == b""
    assert pieces.shown(2) == b"</s>"


def test_words_that_were_added_are_text_unless_they_are_special() -> None:
    tokenizer = sentence_piece()
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    vocabulary = HfVocabulary(tokenizer)
    (token,) = [found for found in range(vocabulary.size) if vocabulary.shown(found) == b"<think>"]
    assert vocabulary.piece(token) == b"<think>"
    assert "<think>" in vocabulary.control_texts


def test_where_else_a_folder_says_what_ends_an_answer(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    replace(folder / "generation_config.json", b'{"eos_token_id": [7, 9]}')
    assert {7, 9} <= vocabulary_of(folder, ends=[11]).end_tokens
    assert 11 in vocabulary_of(folder, ends=[11]).end_tokens


def test_a_template_may_be_a_file_of_its_own_or_one_of_several(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    several = [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]
    change_json(folder / "tokenizer_config.json", chat_template=several, eos_token={"content": "<|im_end|>"})
    assert vocabulary_of(folder).chat_template == "D"
    assert vocabulary_of(folder).eos_text == "<|im_end|>"
    replace(folder / "chat_template.jinja", b"J")
    assert vocabulary_of(folder).chat_template == "J"
    change_json(folder / "tokenizer_config.json", chat_template=None)
    (folder / "chat_template.jinja").unlink()
    assert vocabulary_of(folder).chat_template is None


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("tokenizer.json", None, "the tokenizer is missing.*tokenizer.json; copy it"),
        ("tokenizer.json", b"", "is no tokenizer that can be read"),
        ("tokenizer.json", b'{"model": {}}', "is no tokenizer that can be read"),
        ("tokenizer_config.json", b"{", "tokenizer_config.json is no JSON text"),
        ("tokenizer_config.json", b"[1]", "holds no JSON object"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja cannot be read"),
    ],
)
def test_broken_files_are_named(
    twins: ModelTwins, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    if content is None:
        (folder / name).unlink()
    else:
        replace(folder / name, content)
    with pytest.raises(CannotLoad, match=sentence):
        vocabulary_of(folder)


def test_a_tokenizer_of_sentence_piece_alone_is_explained(twins: ModelTwins, tmp_path: Path) -> None:
    folder = copy_of(twins.safetensors, tmp_path / "copy")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(CannotLoad, match=r"SentencePiece tokenizer.model.*save_pretrained"):
        vocabulary_of(folder)
