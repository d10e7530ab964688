"""From the corpus to a GGUF file, each step on something small."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import jinja2
import llama_cpp
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from recipe import checkpoint, corpus, evaluate, places, tokenizer
from recipe.accuracy import right_answers
from recipe.augmentation import vary, vary_but
from recipe.batches import pad, shuffled
from recipe.conversations import Dealer, Encoder, Message
from recipe.corpus import Corpus, gist
from recipe.evaluate import Examination
from recipe.export import write_gguf
from recipe.greedy import Greedy
from recipe.model import Decoder, Shape
from recipe.train import Places, Plan, Training, batch_loss, optimizer
from recipe.transformers_twin import to_transformers

TINY = Shape(600, width=64, layers=2, heads=2, kv_heads=1, head_width=32, feed_forward=96)
TALK: list[Message] = [
    {"role": "system", "content": "Vous êtes Neo."},
    {"role": "user", "content": "Qu'est-ce qu'un CDI ?"},
    {"role": "assistant", "content": "Un contrat sans terme."},
    {"role": "user", "content": "Et un CDD ? 👋"},
    {"role": "assistant", "content": "Un contrat à terme."},
]


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


@pytest.fixture(scope="module")
def template() -> str:
    return places.CHAT_TEMPLATE.read_text(encoding="utf-8")


@pytest.fixture
def model(cutter: Tokenizer) -> Decoder:
    torch.manual_seed(1)
    model = Decoder(replace(TINY, vocabulary=cutter.get_vocab_size())).eval()
    # Norms of exactly one would hide one that the export forgot.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.2)
    return model


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    cutter = tokenizer.train(["Bonjour, qu'est-ce qu'un contrat à durée déterminée ?"] * 3, vocabulary=300)
    assert cutter.decode(cutter.encode(text).ids, skip_special_tokens=False) == text


def test_merges_dropped_at_random_spell_the_same(cutter: Tokenizer, tmp_path: Path) -> None:
    cutter.save(str(tmp_path / "tokenizer.json"))
    rough = tokenizer.load(tmp_path / "tokenizer.json", dropout=0.5)
    assert len(rough.encode(TALK[1]["content"]).ids) > len(cutter.encode(TALK[1]["content"]).ids)
    assert rough.decode(rough.encode(TALK[1]["content"]).ids) == TALK[1]["content"]


def test_only_what_the_assistant_says_is_taught(cutter: Tokenizer) -> None:
    sample = Encoder(cutter).sample(TALK)
    taught = [token for token, counts in zip(sample.tokens, sample.taught, strict=True) if counts]
    said = "Un contrat sans terme.<|im_end|>Un contrat à terme.<|im_end|>"
    assert cutter.decode(taught, skip_special_tokens=False) == said


def rendered(template: str, messages: list[Message], *, asks: bool) -> str:
    def refuse(reason: str) -> None:
        raise jinja2.TemplateError(reason)

    compiled = jinja2.Environment(autoescape=False).from_string(template)  # noqa: S701  # no HTML
    return compiled.render(messages=messages, add_generation_prompt=asks, raise_exception=refuse)


def test_samples_are_cut_as_the_template_is(cutter: Tokenizer, template: str) -> None:
    assert Encoder(cutter).sample(TALK).tokens == cutter.encode(rendered(template, TALK, asks=False)).ids
    assert Encoder(cutter).prompt(TALK) == cutter.encode(rendered(template, TALK, asks=True)).ids


def test_the_template_refuses_an_unknown_role(template: str) -> None:
    with pytest.raises(jinja2.TemplateError, match="not tool"):
        rendered(template, [{"role": "tool", "content": "42"}], asks=True)


def test_an_epoch_asks_every_phrasing_once_and_follow_ups_after_their_pair(known: Corpus) -> None:
    talks = Dealer(known).epoch(Random(1))
    told = [message["content"] for talk in talks for message in talk if message["role"] == "assistant"]
    for pair in known:
        firsts = sum(len(other.questions) for other in known if other.after == pair.id)
        assert told.count(pair.answer) == len(pair.questions) + firsts, pair.id


def test_no_varied_question_is_a_held_out_one(known: Corpus) -> None:
    held_out = {gist(question) for pair in known for question in pair.held_out}
    for talk in Dealer(known).epoch(Random(2)):
        assert held_out.isdisjoint(gist(message["content"]) for message in talk if message["role"] == "user")


@given(st.randoms(use_true_random=False))
def test_a_question_is_varied_but_never_into_a_forbidden_one(random: Random) -> None:
    phrasings = ("Combien de congés ai-je par an ?", "J'ai droit à quels congés cette année ?")
    varied = vary(phrasings, phrasings[0], "fr", random)
    assert varied.strip()
    assert vary_but({gist(varied)}, phrasings, phrasings[0], "fr", Random(3))


def test_batches_hold_every_taught_token(known: Corpus, cutter: Tokenizer) -> None:
    samples = [Encoder(cutter).sample(talk) for talk in Dealer(known).epoch(Random(1))[:50]]
    batches = shuffled(samples, 2048, Random(1))
    assert sum(len(batch.targets) for batch in batches) == sum(sum(sample.taught[:512]) for sample in samples)
    assert all(batch.taught.sum() == len(batch.targets) for batch in batches)


def test_padding_changes_nothing(cutter: Tokenizer, model: Decoder) -> None:
    short, long = (Encoder(cutter).sample(TALK[:length]) for length in (3, 5))
    alone, together = pad([short]), pad([short, long])
    positions = alone.inputs.shape[1]
    with torch.inference_mode():
        torch.testing.assert_close(model(together.inputs)[:1, :positions], model(alone.inputs))


def test_one_pass_finds_what_greedy_decoding_says(cutter: Tokenizer, model: Decoder) -> None:
    encoder = Encoder(cutter)
    adam = optimizer(model, Plan())
    for _ in range(60):
        batch_loss(model, pad([encoder.sample(TALK)]), sixteen_bits=False).backward()  # type: ignore[no-untyped-call]
        adam.step()
        adam.zero_grad()
    answer = TALK[-1]["content"]
    assert Greedy(model, encoder)(TALK[:-1]) == answer
    asked = [
        Examination("a", "right", TALK[:-1], answer),
        Examination("b", "wrong", TALK[:-1], "Un contrat à deux."),
    ]
    assert right_answers(model, encoder, asked) == {"right": 1, "wrong": 0}


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(known: Corpus, tmp_path: Path) -> None:
    few = Corpus({pair.id: pair for pair in list(known)[:2]}, known.system_prompts)
    plan = Plan(shape=TINY, epochs=2, merge_dropout=0, seconds_between_checkpoints=0, epochs_between_looks=9)
    cut = tokenizer.train(few.texts(), vocabulary=300)

    def training(name: str) -> Training:
        (tmp_path / name).mkdir(exist_ok=True)
        places = Places(
            *(tmp_path / name / file for file in ("tokenizer.json", "checkpoint.pt", "curve.csv"))
        )
        cut.save(str(places.tokenizer))
        return Training(few, places, plan)

    straight = training("straight")
    straight.run()
    interrupted = training("paused")
    interrupted.epoch()
    checkpoint.save(
        interrupted.places.checkpoint, interrupted.model, interrupted.optimizer, interrupted.progress
    )
    resumed = training("paused")
    resumed.run()
    torch.testing.assert_close(resumed.model.state_dict(), straight.model.state_dict())
    assert resumed.places.curve.read_text().startswith("2,")


@pytest.fixture
def files(cutter: Tokenizer, model: Decoder, template: str, tmp_path: Path) -> dict[str, Path]:
    found = {"f16": tmp_path / "f16.gguf", "f32": tmp_path / "f32.gguf"}
    for name, path in found.items():
        write_gguf(model, cutter, template, path, wide=name == "f32")
    return found


def round_to_half(model: Decoder) -> None:
    """Gives the matrices the values that the file holds."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(parameter.half().float())


@pytest.fixture
def llama(files: dict[str, Path]) -> Iterator[llama_cpp.Llama]:
    llama = llama_cpp.Llama(str(files["f32"]), n_ctx=128, n_threads=1, logits_all=True, verbose=False)
    yield llama
    llama.close()


def test_llama_cpp_computes_what_the_network_does(
    llama: llama_cpp.Llama, cutter: Tokenizer, model: Decoder
) -> None:
    tokens = Encoder(cutter).sample(TALK).tokens
    llama.eval(tokens)
    round_to_half(model)
    with torch.inference_mode():
        expected = model(torch.tensor([tokens]))[0].numpy()
    np.testing.assert_allclose(llama.scores[: len(tokens)], expected, atol=0.02, rtol=0.01)


@pytest.mark.parametrize(
    "text", ["Bonjour 👋 l’été", "a  b\n\n c\t1234", "<|im_start|>user\nÇa va ?<|im_end|>\n"]
)
def test_llama_cpp_cuts_as_the_tokenizer_does(llama: llama_cpp.Llama, cutter: Tokenizer, text: str) -> None:
    assert llama.tokenize(text.encode(), add_bos=False, special=True) == cutter.encode(text).ids


def test_transformers_reads_the_same_weights_tokens_and_template(
    files: dict[str, Path], model: Decoder, cutter: Tokenizer, tmp_path: Path
) -> None:
    to_transformers(files["f16"], tmp_path / "twin")
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "twin")
    assert isinstance(twin, transformers.Qwen3ForCausalLM)
    twin_cutter = transformers.AutoTokenizer.from_pretrained(tmp_path / "twin")
    tokens = twin_cutter.apply_chat_template(TALK, tokenize=True, return_dict=False)
    assert tokens == Encoder(cutter).sample(TALK).tokens
    round_to_half(model)
    with torch.inference_mode():
        torch.testing.assert_close(twin(torch.tensor([tokens])).logits, model(torch.tensor([tokens])))


def test_a_score_counts_exact_answers_only() -> None:
    asked = [Examination(str(number), "fr", TALK[:2], "Oui.") for number in range(4)]
    said = iter(["Oui.", " Oui.\n", "oui.", "Oui. Oui."])
    result = evaluate.score(lambda _: next(said), asked)
    assert (result.right["fr"], result.asked["fr"], result.share) == (2, 4, 0.5)
    assert "2 of 4 (50.0%)" in evaluate.table({"trained": result})


def test_examinations_ask_follow_ups_after_their_first_turn(known: Corpus) -> None:
    follow_up = next(pair for pair in known if pair.after is not None)
    first = known.pairs[str(follow_up.after)]
    asked = [one for one in evaluate.examinations(known, "held_out", system=None) if one.pair == follow_up.id]
    assert [message["content"] for message in asked[0].messages] == [
        first.questions[0],
        first.answer,
        follow_up.held_out[0],
    ]
