"""OpenVINO's backend with the demo model: it says what llama.cpp says, and nobody's answer is changed by
others. Everything is computed in F32, so that outputs can be compared."""

from __future__ import annotations

import json
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from ai_core.engine.backends.llama_cpp.load import load as load_llama
from ai_core.engine.backends.loading import CannotLoad, Loaded
from ai_core.engine.backends.openvino.prepared import REVISION, prepared
from ai_core.engine.backends.openvino.slices import SIZES
from ai_core.engine.backends.port import ConstraintFailed, Sequence, Tokens
from ai_core.engine.chat.template import ChatTemplate
from ai_core.engine.constraints.compiler import GrammarCompiler
from ai_core.engine.constraints.compiling import tokenizer_for
from ai_core.engine.host import Host
from ai_core.engine.intake import Intake
from ai_core.engine.messages import (
    ChatMessage,
    EngineConfig,
    Grammar,
    Message,
    Sampling,
    Step,
    Submit,
)
from ai_core.engine.tokens import common_prefix
from ai_core_service import DEMO_MODEL
from gguf_twin import write_q8_0_twin
from model_twins import ModelTwins
from openvino_rig import GREEDY, Rig, open_backend

UNENDING = Sampling(temperature=0, ignore_eos=True)
WILD = Sampling(temperature=1.8, top_p=1.0, seed=7)
CLEAR_LEAD = 0.5
"""Answers are compared where the likeliest token leads by this many units of log probability."""
SYSTEM = (
    "Tu es Neo, l'assistant du Code du travail. Réponds en français, avec courtoisie et clarté. Si tu ne "
    "sais pas, dis-le, et conseille de consulter un professionnel du droit ou l'inspection du travail. " * 3
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def rig(kept: Path) -> Iterator[Rig]:
    opened = open_backend(DEMO_MODEL, kept)
    yield opened
    opened.backend.close()


@pytest.fixture
def small(kept: Path) -> Iterator[Callable[..., Rig]]:
    """Starts backends of other sizes over the same prepared model."""
    opened: list[Rig] = []

    def start(**config: int) -> Rig:
        opened.append(open_backend(DEMO_MODEL, kept, **config))
        return opened[-1]

    yield start
    for one in opened:
        one.backend.close()


def questions() -> list[str]:
    corpus = DEMO_MODEL.parent / "corpus"
    pairs = [
        pair
        for name in ("contrats.fr.toml", "labour-law.en.toml")
        for pair in tomllib.loads((corpus / name).read_text())["pair"]
    ]
    return [str(pair["questions"][0]) for pair in pairs][::6][:12]


def llama_says(model: Path, prompts: list[Tokens]) -> list[tuple[list[int], list[float], float]]:
    """What llama.cpp answers greedily, with the log probability of each token, and the smallest lead."""
    loaded = load_llama(EngineConfig(model_path=str(model), threads=1, max_sequences=1), lambda _: None)
    assert isinstance(loaded, Loaded)
    backend, answers = loaded.backend, []
    for number, prompt in enumerate(prompts):
        backend.submit(Sequence(number, prompt, GREEDY, 60, chances=2))
        tokens: list[int] = []
        logprobs: list[float] = []
        lead = np.inf
        while backend.stats().running:
            result = backend.step()
            tokens += [token for _, token in result.tokens]
            for chances in result.chances.values():
                logprobs.append(chances.logprob)
                lead = min(lead, chances.top[0][1] - chances.top[1][1])
        answers.append((tokens, logprobs, lead))
    backend.close()
    return answers


# --- what llama.cpp says --------------------------------------------------------------------------


def test_greedy_answers_and_their_probabilities_are_those_of_llama_cpp_alone_and_eight_at_once(
    rig: Rig,
) -> None:
    prompts = [rig.prompt(question) for question in questions()]
    expected = llama_says(DEMO_MODEL, prompts)
    clear = [number for number, (_, _, lead) in enumerate(expected) if lead > CLEAR_LEAD]
    assert len(clear) >= 8, "too few clear answers to compare"
    for number in clear[:3]:
        assert rig.say(prompts[number], limit=60) == expected[number][0]
    for number in clear[:8]:
        rig.submit(number, prompts[number], limit=60, chances=2 if number % 2 else None)
    rig.finish()
    for number in clear[:8]:
        tokens, logprobs, _ = expected[number]
        assert rig.said[number] == tokens
        if number % 2:
            found = [chances.logprob for chances in rig.chances[number]]
            assert found == pytest.approx(logprobs[: len(found)], abs=0.05)


def test_a_q8_0_file_is_answered_as_llama_cpp_answers_it(tmp_path: Path) -> None:
    model = tmp_path / "q8.gguf"
    write_q8_0_twin(DEMO_MODEL, model)
    rig = open_backend(model, tmp_path / "prepared")
    prompts = [rig.prompt(question) for question in questions()]
    expected = llama_says(model, prompts)
    compared = 0
    for prompt, (tokens, _, lead) in zip(prompts, expected, strict=True):
        # llama.cpp rounds activations to 8 bits, too: what it computes here differs by more than in F16.
        if lead > 4 * CLEAR_LEAD:
            assert rig.say(prompt, limit=60) == tokens
            compared += 1
    rig.backend.close()
    assert compared >= 3


# --- how tokens are chosen ------------------------------------------------------------------------


def test_an_answer_ends_at_its_end_or_is_cut_at_max_tokens(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    whole = rig.say(prompt)
    assert 5 < len(whole) < 100
    rig.submit(1, prompt)
    rig.submit(2, prompt, limit=5)
    rig.submit(3, prompt, UNENDING, limit=len(whole) + 20)
    rig.finish()
    assert (rig.ended[1], rig.ended[2], rig.ended[3]) == ("stop", "length", "length")
    assert rig.said[1] == whole
    assert rig.said[2] == whole[:5]
    assert rig.said[3][: len(whole)] == whole
    assert len(rig.said[3]) == len(whole) + 20
    assert not rig.vocabulary.end_tokens & set(rig.said[3])


def test_a_seed_gives_the_same_answer_whoever_else_is_there(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    alone = rig.say(prompt, WILD, limit=30)
    others = [WILD, Sampling(temperature=1.8, top_p=1.0, seed=8), GREEDY, WILD]
    for id_, sampling in enumerate(others):
        rig.submit(id_, prompt, sampling, limit=30)
    rig.finish()
    assert rig.said[0] == rig.said[3] == alone
    assert rig.said[1] != alone
    assert rig.text(rig.said[2]).startswith("Bonjour")


def test_a_bias_forbids_and_forces_tokens(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    usual = rig.say(prompt, limit=8)
    forbidden = rig.say(prompt, Sampling(temperature=0, logit_bias={usual[0]: -100.0}), limit=8)
    assert forbidden[0] != usual[0]
    forced = Sampling(temperature=0.5, top_k=5, seed=1, logit_bias={usual[3]: 100.0})
    assert set(rig.say(prompt, forced, limit=6)) == {usual[3]}


def test_penalties_keep_a_token_from_coming_again(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    forced = {rig.say(prompt, limit=1)[0]: 50.0}
    again = Sampling(temperature=0, logit_bias=forced)
    assert len(set(rig.say(prompt, again, limit=5))) == 1
    once = Sampling(temperature=0, logit_bias=forced, presence_penalty=100.0)
    assert rig.say(prompt, once, limit=5).count(next(iter(forced))) == 1


def test_only_the_likeliest_are_drawn_from_a_small_top_k_and_top_p(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    greedy = rig.say(prompt, limit=20)
    for narrow in (
        Sampling(temperature=1.9, top_k=1, top_p=1.0, seed=3),
        Sampling(temperature=1.0, top_p=0.01, seed=3),
        Sampling(temperature=1.0, top_p=1.0, min_p=0.999, seed=3),
    ):
        assert rig.say(prompt, narrow, limit=20) == greedy


# --- grammars -------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_answers_keep_to_their_schemas_beside_others_that_have_none(rig: Rig) -> None:
    prompt = rig.prompt("Qui es-tu ?")
    usual = rig.say(prompt)
    schema = Grammar("json_schema", json.dumps(PERSON))
    for id_, sampling in enumerate((GREEDY, WILD, Sampling(temperature=1.0, seed=5), GREEDY)):
        constraint = None if id_ == 3 else rig.follow(schema)
        rig.submit(id_, prompt, sampling, limit=200, constraint=constraint)
    rig.finish()
    for id_ in range(3):
        jsonschema.validate(json.loads(rig.text(rig.said[id_])), PERSON)
        assert rig.ended[id_] == "stop"
    assert rig.said[3] == usual


class Impossible:
    """A grammar that fails after a few tokens."""

    complete = False

    def __init__(self) -> None:
        self.left = 3

    def take(self, token: int) -> bool:
        self.left -= 1
        if self.left < 0:
            raise ConstraintFailed("it is too nasty")
        return True

    def allowed(self) -> Tokens | None:
        return None

    def among(self, tokens: Tokens, most: int) -> Tokens:
        return tokens[:most]


def test_a_grammar_that_cannot_be_followed_ends_its_own_answer_only(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    usual = rig.say(prompt)
    rig.submit(1, prompt, constraint=Impossible())
    rig.submit(2, prompt)
    rig.finish()
    assert rig.lost == {1: "it is too nasty"}
    assert rig.said[2] == usual


# --- who shares, who leaves -----------------------------------------------------------------------


def test_a_long_prefix_is_computed_once_and_said_so(rig: Rig) -> None:
    first, second = rig.prompt("Bonjour", SYSTEM + "1"), rig.prompt("Qui es-tu ?", SYSTEM + "1")
    before = rig.backend.computed_tokens
    rig.submit(1, first)
    rig.finish()
    alone = rig.backend.computed_tokens - before
    expected = rig.backend.count(second, "")
    assert expected >= len(second) - 64
    before = rig.backend.computed_tokens
    assert rig.submit(2, second) == expected
    rig.finish()
    assert rig.reused[2] == expected
    assert rig.backend.computed_tokens - before < alone - expected + len(rig.said[2])


def test_eight_at_once_with_one_long_prefix_compute_it_once(rig: Rig) -> None:
    """Through the host, which makes seven of them wait for the first."""
    sent: list[Message] = []
    capabilities = rig.backend.capabilities()
    template = ChatTemplate(rig.vocabulary.chat_template or "", "", rig.vocabulary.eos_text)
    compiler = GrammarCompiler(
        tokenizer_for(rig.vocabulary, capabilities.vocabulary), capabilities.vocabulary
    )
    host = Host(
        rig.backend,
        rig.vocabulary,
        Intake(rig.vocabulary, template, capabilities),
        compiler,
        max_waiting=100,
        clock=time.monotonic,
        send=sent.append,
    )
    prompts = [rig.prompt(question, SYSTEM + "4") for question in questions()[:8]]
    common = min(common_prefix(prompts[0], prompt) for prompt in prompts[1:])
    before = rig.backend.computed_tokens
    for id_, question in enumerate(questions()[:8]):
        messages = [ChatMessage("system", SYSTEM + "4"), ChatMessage("user", question)]
        host.receive(Submit(id=id_, messages=messages, sampling=GREEDY, max_tokens=4))
    while host.busy:
        host.step()
    compiler.close()
    ends = [end for message in sent if isinstance(message, Step) for end in message.finished]
    assert len(ends) == 8
    assert common >= 128
    assert sorted(end.cached_prompt_tokens for end in ends)[1] >= common // 32 * 32
    own = sum(end.prompt_tokens - end.cached_prompt_tokens + end.completion_tokens for end in ends)
    assert rig.backend.computed_tokens - before <= own
    said = {end.id: "" for end in ends}
    for message in sent:
        if isinstance(message, Step):
            for delta in message.deltas:
                said[delta.id] += delta.text
            for end in message.finished:
                said[end.id] += end.text
    for id_, prompt in enumerate(prompts):
        assert said[id_] == rig.text(rig.say(prompt, limit=4, namespace="alone"))


def test_without_coalescing_those_who_come_together_compute_everything_themselves(
    rig: Rig, small: Callable[..., Rig]
) -> None:
    alone = small(coalescing=False)
    prompt = alone.prompt("Qui es-tu ?", SYSTEM + "9")
    usual = rig.say(prompt, limit=8)
    assert alone.submit(0, prompt, limit=8) == 0
    alone.step()
    for id_ in (1, 2):
        assert alone.submit(id_, prompt, limit=8) == 0
    alone.finish()
    # Each in full, also those who came when the first one was through.
    assert alone.backend.computed_tokens >= 3 * len(prompt)
    assert [alone.said[id_] for id_ in range(3)] == [usual] * 3
    # What they left behind is found by who comes later.
    assert alone.submit(3, prompt, limit=8) >= len(prompt) // 32 * 32 - 32
    alone.finish()
    assert alone.said[3] == usual


@pytest.mark.parametrize("answer", [1, 8, 28])
def test_those_who_go_on_differently_within_a_block_do_not_disturb_each_other(rig: Rig, answer: int) -> None:
    """OpenVINO's cache lets them share a block that is not full, and each would write into the others'."""
    numbers = np.random.default_rng(answer)
    first = numbers.integers(300, 4000, 100, dtype=np.int32)
    said = np.array(rig.say(first, UNENDING, limit=answer), dtype=np.int32)
    tails = numbers.integers(300, 4000, (4, 20), dtype=np.int32)
    prompts = [np.concatenate((first, said, tail)) for tail in tails]
    for id_, prompt in enumerate(prompts):
        rig.submit(id_, prompt, UNENDING, limit=12)
    rig.finish()
    for id_, prompt in enumerate(prompts):
        assert rig.reused[id_] == (100 + answer - 1) // 32 * 32
        assert rig.said[id_] == rig.say(prompt, UNENDING, limit=12, namespace=f"alone {id_}")


def test_a_long_prompt_comes_in_small_slices_beside_others_and_in_large_steps_alone(rig: Rig) -> None:
    long = rig.prompt("Qui es-tu ?", SYSTEM + "5" + SYSTEM + "6" + SYSTEM)
    assert len(long) > 300
    before = rig.backend.computed_tokens
    rig.submit(1, long, limit=20, namespace="alone")
    steps: list[int] = []
    while not rig.said[1]:
        rig.step()
        steps.append(rig.backend.computed_tokens - before - sum(steps))
    rig.finish()
    assert max(steps) > 250
    assert sum(steps) < len(long) + len(steps)
    stream = rig.prompt("Bonjour")
    usual = rig.say(stream, UNENDING, limit=60)
    rig.submit(2, stream, UNENDING, limit=60)
    rig.step()
    rig.submit(3, long, limit=20, namespace="beside", priority=1)
    rig.backend.prioritise(3, 2)
    while not rig.said[3]:
        before, said = rig.backend.computed_tokens, len(rig.said[2])
        rig.step()
        assert rig.backend.computed_tokens - before <= SIZES[0] + 1
        # The stream goes on in every step, as long as it lasts.
        assert len(rig.said[2]) == min(said + 1, 60)
    rig.finish()
    assert rig.said[3] == rig.said[1]
    assert rig.said[2] == usual


@pytest.mark.parametrize("size", [16, 48])
def test_slices_of_half_blocks_are_found_again_and_change_no_answer(
    rig: Rig, small: Callable[..., Rig], size: int
) -> None:
    long = rig.prompt("Qui es-tu ?", SYSTEM + "8" + SYSTEM)
    usual = rig.say(long, limit=20)
    other = small(prefill_chunk=size)
    other.submit(1, other.prompt("Bonjour"), UNENDING, limit=60)
    other.step()
    other.submit(2, long, limit=20)
    computed: list[int] = []
    while not other.said[2]:
        before = other.backend.computed_tokens
        other.step()
        computed.append(other.backend.computed_tokens - before)
    # The stream's own token, and where a block is filled one behind it.
    assert max(computed) <= size + 2
    assert sum(computed) <= len(long) * (1 + 1 / 32) + len(computed) + 16
    other.finish()
    assert other.said[2] == usual
    assert other.backend.count(long, "") >= len(long) // 32 * 32 - 32


def test_who_leaves_between_two_slices_is_gone(rig: Rig) -> None:
    long = rig.prompt("Qui es-tu ?", SYSTEM + "7" + SYSTEM)
    rig.submit(1, rig.prompt("Bonjour"), UNENDING, limit=30)
    for id_ in (2, 3):
        rig.submit(id_, long, limit=5, namespace=str(id_))
    for _ in range(3):
        rig.step()
    rig.backend.cancel(2)
    rig.step()
    rig.backend.cancel(3)
    rig.finish()
    assert len(rig.said[1]) == 30
    assert rig.said[2] == rig.said[3] == []


def test_two_namespaces_never_share_and_answer_alike(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour", SYSTEM + "2")
    answers = []
    for id_, namespace in enumerate(("letters\0a", "letters\0b", "\0a")):
        assert rig.backend.count(prompt, namespace) == 0
        rig.submit(id_, prompt, namespace=namespace)
        rig.finish()
        assert rig.reused[id_] == 0
        answers.append(rig.said[id_])
    rig.submit(3, prompt, namespace="letters\0b")
    rig.finish()
    assert rig.reused[3] >= 64
    assert answers[0] == answers[1] == answers[2] == rig.said[3]


def test_who_leaves_makes_room_at_once_and_disturbs_nobody(rig: Rig) -> None:
    prompt = rig.prompt("Bonjour")
    usual = rig.say(prompt)
    rig.submit(1, prompt, UNENDING, limit=500)
    rig.submit(2, prompt)
    rig.step()
    rig.submit(3, rig.prompt("Qui es-tu ?", SYSTEM + "3"))
    rig.backend.cancel(1)
    rig.backend.cancel(3)
    rig.backend.cancel(77)
    assert rig.backend.stats().free_sequences == 7
    rig.finish()
    assert rig.said[2] == usual
    assert (1 in rig.ended, 3 in rig.ended) == (False, False)


def test_when_the_cache_is_too_small_for_all_everybody_still_gets_the_undisturbed_answer(
    rig: Rig, small: Callable[..., Rig]
) -> None:
    prompts = [rig.prompt(question, SYSTEM + str(n)) for n, question in enumerate(questions()[:6])]
    answers = [rig.say(prompt, limit=40) for prompt in prompts]
    crowded = small(kv_cells=512, context_length=512, max_sequences=6, prefill_chunk=64)
    for id_, prompt in enumerate(prompts):
        crowded.submit(id_, prompt, limit=40)
    crowded.finish()
    assert crowded.failed == []
    assert [crowded.said[id_] for id_ in range(len(prompts))] == answers


def test_no_more_are_let_in_than_the_cache_has_room_for(small: Callable[..., Rig]) -> None:
    rig = small(kv_cells=512, context_length=512, max_sequences=6)
    prompt = np.random.default_rng(1).integers(300, 4000, 500, dtype=np.int32)
    assert rig.backend.stats().free_sequences == 6
    rig.submit(1, prompt, limit=5)
    assert rig.backend.stats().free_sequences == 0
    rig.finish()
    assert len(rig.said[1]) == 5
    assert rig.backend.stats().free_sequences == 6


# --- what cannot be served ------------------------------------------------------------------------


def _twin_with(tmp_path: Path, **words: str) -> Path:
    path = tmp_path / "twin.gguf"
    write_q8_0_twin(DEMO_MODEL, path, **words)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a usable GGUF file: it is empty"),
        (b"GGML" + bytes(60), "does not begin with the letters GGUF"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "it claims"),
    ],
)
def test_broken_files_are_refused_with_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(CannotLoad, match=said):
        open_backend(path, tmp_path / "prepared")


def test_a_truncated_file_is_refused_and_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    path, prepared = tmp_path / "cut.gguf", tmp_path / "prepared"
    path.write_bytes(DEMO_MODEL.read_bytes()[:3_000_000])
    with pytest.raises(CannotLoad, match=r"cut\.gguf"):
        open_backend(path, prepared)
    assert list(prepared.rglob("*.xml")) == []


def test_a_tokenizer_that_only_llama_cpp_reads_exactly_is_refused(tmp_path: Path) -> None:
    path = _twin_with(tmp_path, tokenizer_ggml_pre="deepseek-llm")
    with pytest.raises(CannotLoad, match="cuts words as 'deepseek-llm' does, which only llama"):
        open_backend(path, tmp_path / "prepared")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="has no safetensors to convert"):
        open_backend(tmp_path, tmp_path)


def test_another_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="OpenVINO computes on the CPU here"):
        open_backend(DEMO_MODEL, tmp_path, device="gpu")


# --- safetensors ---

CONVERTER = """
import json, sys
print(json.dumps({{"share": 0.5, "what": "converting"}}), flush=True)
print(json.dumps({last}), flush=True)
"""


def _converter(tmp_path: Path, **last: str) -> list[str]:
    """A command in the place of the real one, which says this in the end."""
    script = tmp_path / "converter.py"
    script.write_text(CONVERTER.format(last=last))
    return [sys.executable, str(script)]


def test_safetensors_are_converted_when_they_are_loaded_and_say_the_same(
    rig: Rig, kept: Path, twins: ModelTwins, tmp_path: Path
) -> None:
    folder = tmp_path / "converted"
    shutil.copytree(prepared(DEMO_MODEL, kept), folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        shutil.copyfile(twins.safetensors / name, folder / name)
    (folder / "converted.json").write_text(json.dumps({"prepared": REVISION, "form": "fp16"}))
    converter = _converter(tmp_path, folder=str(folder))
    found = open_backend(twins.safetensors, tmp_path / "kept", converter=converter)
    prompt = rig.prompt("Bonjour")
    assert found.prompt("Bonjour").tolist() == prompt.tolist()
    assert found.say(prompt) == rig.say(prompt)
    # It was prepared by the conversion, so nothing is prepared here.
    assert not (tmp_path / "kept").exists()
    found.backend.close()


def test_why_safetensors_are_not_converted_is_told(twins: ModelTwins, tmp_path: Path) -> None:
    converter = _converter(tmp_path, error="the converter gave up: no such shape")
    with pytest.raises(CannotLoad, match="cannot be served by OpenVINO: the converter gave up: no such"):
        open_backend(twins.safetensors, tmp_path / "kept", converter=converter)
    with pytest.raises(CannotLoad, match="nothing here converts them"):
        open_backend(twins.safetensors, tmp_path / "kept")


# --- prepared models ------------------------------------------------------------------------------


def test_a_model_is_prepared_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    model, prepared = _twin_with(tmp_path), tmp_path / "prepared"
    open_backend(model, prepared).backend.close()
    (first,) = prepared.rglob("openvino_model.xml")
    stamp = first.stat().st_mtime_ns
    open_backend(model, prepared).backend.close()
    assert first.stat().st_mtime_ns == stamp
    model.write_bytes(model.read_bytes() + bytes(1))
    open_backend(model, prepared).backend.close()
    (second,) = prepared.rglob("openvino_model.xml")
    assert second != first
