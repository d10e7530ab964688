"""What holds for every backend that generates text, with the demo model in the format that it reads.

Answers are compared where the likeliest token leads clearly: engines add up in different orders.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from ai_core.engine.backends.loading import Loaded
from ai_core.engine.backends.port import Chances, Feature, Restful
from ai_core.engine.backends.registry import load
from ai_core.engine.constraints.compiling import compile_grammar, tokenizer_for, translate
from ai_core.engine.constraints.matcher import Matcher
from ai_core.engine.messages import AdapterFile, EngineConfig, Grammar, Sampling
from ai_core_service import DEMO_MODEL, QUESTIONS, SYSTEM
from lora_adapters import write_random_adapter
from model_twins import ModelTwins
from port_rig import GREEDY, PortRig

FORMATS: dict[str, Callable[[ModelTwins], str]] = {
    "llama_cpp": lambda twins: str(twins.gguf),
    # It reads no F32 files; these weights are F16 by origin.
    "openvino": lambda _twins: str(DEMO_MODEL),
    "transformers": lambda twins: str(twins.safetensors),
    "onnxruntime": lambda twins: str(twins.onnx),
}
WITH_ADAPTERS = ("llama_cpp", "openvino", "transformers")
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CONTEXT = 512
CLEAR_LEAD = 0.2
"""Nats between the likeliest token and the next one."""
UNENDING = Sampling(temperature=0, ignore_eos=True)
WILD: dict[str, Any] = {"temperature": 4.0, "top_p": 1.0}


@pytest.fixture(scope="module", params=sorted(FORMATS))
def loaded(
    request: pytest.FixtureRequest, twins: ModelTwins, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """Each backend in turn."""
    name = request.param
    adapters = []
    if name in WITH_ADAPTERS:
        folder = write_random_adapter(tmp_path_factory.mktemp("adapter") / "loud", 1, strength=0.05)
        adapters = [AdapterFile("loud", str(folder))]
    path = FORMATS[name](twins)
    config = EngineConfig(
        backend=name,
        model_path=path,
        context_length=CONTEXT,
        max_sequences=4,
        threads=1,
        adapters=adapters,
        precision="f32",
        log_level="error",
    )
    found = load(config, lambda _progress: None)
    assert isinstance(found, Loaded)
    yield found
    found.backend.close()


@pytest.fixture
def rig(loaded: Loaded) -> PortRig:
    return PortRig.of(loaded)


@pytest.fixture(scope="module")
def reference(twins: ModelTwins) -> Iterator[PortRig]:
    """llama.cpp with the F32 file, which all others are compared with."""
    config = EngineConfig(
        model_path=str(twins.gguf), context_length=CONTEXT, max_sequences=1, threads=1, log_level="error"
    )
    found = load(config, lambda _progress: None)
    assert isinstance(found, Loaded)
    yield PortRig.of(found)
    found.backend.close()


def lead(chances: Chances) -> float:
    return chances.top[0][1] - chances.top[1][1]


def test_it_says_what_it_can_do(rig: PortRig) -> None:
    capabilities = rig.backend.capabilities()
    assert capabilities.context_length == CONTEXT
    assert capabilities.max_sequences >= 1
    assert capabilities.vocabulary == 4096
    assert rig.backend.stats().free_sequences == capabilities.max_sequences
    assert rig.vocabulary.end_tokens


def supported(engine: str) -> dict[str, str]:
    """The README's table of what each format supports: one engine's column, by the first one's text."""
    text = README.split("### What each format supports\n")[1].split("\n### ")[0].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    # The first cell of the head is empty.
    column = rows[0].index(engine) + 1
    return {row[0]: row[column] for row in rows[2:]}


def test_the_readme_says_what_it_supports(rig: PortRig, loaded: Loaded) -> None:
    capabilities = rig.backend.capabilities()
    table = supported(capabilities.name)
    for feature in get_args(Feature):
        (answer,) = [cell for title, cell in table.items() if f"`{feature}`" in title]
        assert answer.startswith("no" if feature in capabilities.missing else "yes"), feature
    assert (table["answers at a time"][0] == "1") == (capabilities.max_sequences == 1)
    changing = table["adapters loaded and unloaded at run time"]
    assert changing.startswith("no" if loaded.adapters is None else "yes")


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_answers_are_the_same_everywhere(rig: PortRig, reference: PortRig, question: str) -> None:
    expected = reference.answer(reference.prompt(question), chances=2)
    leads = [lead(chances) for chances in reference.chances[0]]
    prompt = rig.prompt(question)
    assert prompt.tolist() == reference.prompt(question).tolist()
    answer = rig.answer(prompt)
    for place, token in enumerate(expected):
        if leads[place] < CLEAR_LEAD:
            break
        assert answer[place] == token
    else:
        assert answer == expected
        assert rig.ended[0] == reference.ended[0]


def test_log_probabilities_are_the_same_everywhere(rig: PortRig, reference: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[2], SYSTEM)
    expected = reference.answer(prompt, limit=12, chances=4)
    assert rig.answer(prompt, limit=12, chances=4) == expected
    pairs = zip(rig.chances[0], reference.chances[0], strict=True)
    for mine, theirs in pairs:
        assert mine.logprob == pytest.approx(theirs.logprob, abs=0.02)
        assert mine.top[0][0] == theirs.top[0][0]
        assert [value for _, value in mine.top] == sorted((value for _, value in mine.top), reverse=True)


def test_an_answer_ends_after_as_many_tokens_as_it_may_have(rig: PortRig) -> None:
    assert len(rig.answer(rig.prompt(QUESTIONS[0]), limit=3)) == 3
    assert rig.ended[0] == "length"


def test_an_answer_ends_where_the_context_ends(rig: PortRig) -> None:
    prompt = np.resize(rig.prompt(" ".join(QUESTIONS)), CONTEXT - 5)
    answer = rig.answer(prompt, UNENDING, limit=CONTEXT)
    assert 1 <= len(answer) <= 6
    assert rig.ended[0] == "length"


def test_without_an_end_it_goes_on(rig: PortRig) -> None:
    answer = rig.answer(rig.prompt(QUESTIONS[0]), UNENDING, limit=90)
    assert len(answer) == 90
    assert not rig.vocabulary.end_tokens & set(answer)


def test_a_long_prompt_is_read_whole(rig: PortRig, reference: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[2], " ".join([SYSTEM] * 3))
    assert len(prompt) > CONTEXT // 2
    assert rig.answer(prompt, limit=8) == reference.answer(prompt, limit=8)


def test_a_seed_gives_the_same_answer_again(rig: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[1])
    answers = [rig.answer(prompt, Sampling(**WILD, seed=seed), limit=24) for seed in (5, 5, 6)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_who_leaves_makes_room_and_changes_nothing(rig: PortRig) -> None:
    before = rig.answer(rig.prompt(QUESTIONS[3]))
    rig.submit(7, rig.prompt(QUESTIONS[4]), UNENDING, 200)
    while len(rig.said[7]) < 5:
        rig.step()
    rig.backend.cancel(7)
    rig.backend.cancel(7)
    assert rig.backend.stats().free_sequences == rig.backend.capabilities().max_sequences
    assert rig.answer(rig.prompt(QUESTIONS[3])) == before
    assert len(rig.said[7]) == 5


def test_a_prefix_is_computed_once_within_a_namespace(rig: PortRig) -> None:
    first = rig.prompt(QUESTIONS[0], SYSTEM)
    second = rig.prompt(QUESTIONS[5], SYSTEM)
    expected = rig.answer(second, namespace="fresh")
    rig.answer(first, namespace="shared")
    assert rig.answer(second, namespace="shared") == expected
    assert rig.cached[0] >= 32
    assert rig.answer(second, namespace="elsewhere") == expected
    assert rig.cached[0] == 0


def test_who_rests_forgets_prefixes_and_answers_as_before(rig: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[5], SYSTEM)
    before = rig.answer(prompt)
    assert rig.backend.count(prompt, "") > 0
    if isinstance(rig.backend, Restful):
        rig.backend.rest()
        assert rig.backend.count(prompt, "") == 0
        assert rig.backend.stats().kv_cells_used == 0
    assert rig.answer(prompt) == before


def test_biases_decide(rig: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[0])
    usual = rig.answer(prompt, limit=4)
    assert usual[0] not in rig.answer(prompt, Sampling(temperature=0, logit_bias={usual[0]: -100.0}), limit=4)
    wanted = rig.vocabulary.encode("CDI", add_bos=False, parse_special=False)[0]
    assert set(rig.answer(prompt, Sampling(temperature=0, logit_bias={wanted: 100.0}), limit=4)) == {wanted}


@pytest.mark.parametrize(
    "penalty", [{"repeat_penalty": 1.8}, {"frequency_penalty": 1.5}, {"presence_penalty": 2.0}]
)
def test_penalties_make_for_fewer_repetitions(rig: PortRig, penalty: dict[str, Any]) -> None:
    prompt = rig.prompt(QUESTIONS[0])
    usual = rig.answer(prompt, UNENDING, limit=120)
    other = rig.answer(prompt, Sampling(temperature=0, ignore_eos=True, **penalty), limit=120)
    assert Counter(other).most_common(1)[0][1] < Counter(usual).most_common(1)[0][1]


def test_one_candidate_is_no_choice(rig: PortRig) -> None:
    prompt = rig.prompt(QUESTIONS[1])
    greedy = rig.answer(prompt, limit=16)
    only: dict[str, Any]
    for only in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        assert rig.answer(prompt, Sampling(temperature=2.0, **only), limit=16) == greedy


def test_a_grammar_is_kept_to(rig: PortRig) -> None:
    size = rig.backend.capabilities().vocabulary
    schema = {"enum": ["cdi", "cdd"]}
    grammar = translate(Grammar("json_schema", json.dumps(schema)))
    tokenizer = tokenizer_for(rig.vocabulary, size)
    for sampling in (GREEDY, Sampling(**WILD, seed=3)):
        rig.answer(
            rig.prompt(QUESTIONS[4]), sampling, constraint=Matcher(compile_grammar(tokenizer, grammar), size)
        )
        assert json.loads(rig.text(0)) in schema["enum"]
        assert rig.ended[0] == "stop"


def test_other_numbers_of_threads_change_no_answer(rig: PortRig) -> None:
    before = rig.answer(rig.prompt(QUESTIONS[6]))
    rig.backend.set_threads(2, 2)
    assert rig.answer(rig.prompt(QUESTIONS[6])) == before
    rig.backend.set_threads(1, 1)


def test_as_many_at_once_as_it_says(rig: PortRig) -> None:
    alone = [rig.answer(rig.prompt(question)) for question in QUESTIONS[:4]]
    waiting = list(enumerate(QUESTIONS[:4], start=10))
    while waiting:
        while waiting and rig.backend.stats().free_sequences:
            id_, question = waiting.pop(0)
            rig.submit(id_, rig.prompt(question))
        rig.finish()
    assert [rig.said[id_] for id_ in range(10, 14)] == alone


def test_an_adapter_changes_the_answers_of_those_who_name_it(rig: PortRig, loaded: Loaded) -> None:
    if "loud" not in rig.backend.capabilities().adapters:
        assert "adapter" in rig.backend.capabilities().missing
        return
    assert loaded.adapters is not None
    loaded.adapters.prepare("loud")
    prompt = rig.prompt(QUESTIONS[2])
    usual = rig.answer(prompt)
    loud = rig.answer(prompt, adapter="loud", namespace="loud")
    assert loud != usual
    assert rig.cached[0] == 0
    assert rig.answer(prompt) == usual
    assert rig.answer(prompt, adapter="loud", namespace="loud") == loud
