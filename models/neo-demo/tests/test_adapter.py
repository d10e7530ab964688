"""The adapter: letters where they are wanted, the same numbers in every form, and nothing else changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from recipe import corpus, places, tokenizer
from recipe.base_model import load_network, load_tokenizer
from recipe.corpus import Corpus
from recipe.export import write_gguf
from recipe.export_adapter import write_adapter_gguf, write_peft
from recipe.letters import CLOSING, SALUTATION, as_letters
from recipe.lora import Rank, adapt, adaptations
from recipe.model import Decoder, Shape
from recipe.train_adapter import AdapterPlan, round_adaptation, train
from recipe.transformers_twin import hugging_face_name

TINY = Shape(600, width=64, layers=2, heads=2, kv_heads=1, head_width=32, feed_forward=96)
RANK = Rank(rank=2, alpha=4.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For so little work, threads that wait for each other cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def known() -> Corpus:
    return corpus.load(places.CORPUS)


@pytest.fixture(scope="module")
def cutter(known: Corpus) -> Tokenizer:
    return tokenizer.train(known.texts(), vocabulary=600)


@pytest.fixture
def base(cutter: Tokenizer, tmp_path: Path) -> Path:
    """A GGUF file of a network that knows nothing."""
    torch.manual_seed(1)
    model = Decoder(replace(TINY, vocabulary=cutter.get_vocab_size())).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.2)
    path = tmp_path / "base.gguf"
    write_gguf(model, cutter, places.CHAT_TEMPLATE.read_text(encoding="utf-8"), path, wide=True)
    return path


@pytest.fixture
def adapted(base: Path) -> Decoder:
    """The network with a random adaptation."""
    model = load_network(base)
    adapt(model, RANK)
    for _, one in adaptations(model):
        torch.nn.init.normal_(one.lora_b, std=0.3)
    round_adaptation(model)
    return model.eval()


def test_french_answers_become_letters_and_english_ones_stay(known: Corpus) -> None:
    letters = as_letters(known)
    assert letters.pairs.keys() == known.pairs.keys()
    for pair in letters:
        plain = known.pairs[pair.id].answer
        if pair.language == "fr":
            assert pair.answer == f"{SALUTATION}\n\n{plain}\n\n{CLOSING}"
        else:
            assert pair.answer == plain


def test_a_gguf_file_comes_back_as_the_network_and_tokenizer_it_was_made_from(
    base: Path, cutter: Tokenizer
) -> None:
    model = load_network(base)
    written = {tensor.name: tensor.data for tensor in gguf.GGUFReader(base).tensors}
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values.numpy().ravel(), written[name].ravel())
    text = "Qu'est-ce qu'un CDI ? 👋"
    assert load_tokenizer(base).encode(text).ids == cutter.encode(text).ids


def test_an_untrained_adaptation_changes_nothing(base: Path) -> None:
    tokens = torch.arange(40)[None]
    plain, model = load_network(base).eval(), load_network(base).eval()
    trained = adapt(model, RANK)
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), plain(tokens))
    assert {id(one) for one in model.parameters() if one.requires_grad} == {id(one) for one in trained}


def test_training_changes_the_adaptation_and_only_that(base: Path, known: Corpus) -> None:
    few = as_letters(Corpus({pair.id: pair for pair in list(known)[:2]}, known.system_prompts))
    model = train(few, base, AdapterPlan(rank=RANK, share=1, merge_dropout=0))
    before = load_network(base).state_dict()
    for name, values in model.state_dict().items():
        if "lora" not in name:
            torch.testing.assert_close(values, before[name.replace(".base", "")])
    assert all(one.lora_b.abs().max() > 0 for _, one in adaptations(model))


def test_llama_cpp_computes_what_the_adapted_network_does(
    base: Path, adapted: Decoder, tmp_path: Path
) -> None:
    write_adapter_gguf(adapted, RANK, tmp_path / "adapter.gguf")
    llama = llama_cpp.Llama(
        str(base),
        n_ctx=64,
        n_threads=1,
        logits_all=True,
        verbose=False,
        lora_path=str(tmp_path / "adapter.gguf"),
    )
    tokens = list(range(30, 60))
    llama.eval(tokens)
    with torch.inference_mode():
        expected = adapted(torch.tensor([tokens]))[0].numpy()
        plain = load_network(base)(torch.tensor([tokens]))[0].numpy()
    assert np.abs(expected - plain).max() > 1.0
    np.testing.assert_allclose(llama.scores[: len(tokens)], expected, atol=0.05, rtol=0.02)
    llama.close()


def test_peft_and_gguf_hold_the_same_numbers(adapted: Decoder, tmp_path: Path) -> None:
    write_peft(adapted, RANK, tmp_path / "peft")
    write_adapter_gguf(adapted, RANK, tmp_path / "adapter.gguf")
    compare(tmp_path / "peft", tmp_path / "adapter.gguf")


def compare(folder: Path, file: Path) -> None:
    peft = load_file(folder / "adapter_model.safetensors")
    tensors = gguf.GGUFReader(file).tensors
    assert len(tensors) == len(peft)
    for tensor in tensors:
        stem, _, side = tensor.name.rpartition(".")
        module = hugging_face_name(stem).removesuffix(".weight")
        values = peft[f"base_model.model.{module}.lora_{side[-1].upper()}.weight"]
        np.testing.assert_array_equal(np.asarray(tensor.data, np.float32), values)


def test_the_adapter_in_the_repository_is_small_and_the_same_in_both_forms() -> None:
    compare(places.ADAPTER_FOLDER, places.ADAPTER_GGUF)
    assert (places.ADAPTER_FOLDER / "adapter_model.safetensors").stat().st_size < 1_000_000
    assert places.ADAPTER_GGUF.stat().st_size < 1_000_000
