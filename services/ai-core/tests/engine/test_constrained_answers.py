"""Answers of the demo model under a grammar: whatever the model would rather say, it keeps to it; and
those beside it notice nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLTokenizer

from ai_core.engine.backends.llama_cpp.backend import LlamaCppBackend
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.context import Context, ContextSettings
from ai_core.engine.backends.llama_cpp.logs import forward_llama_logs
from ai_core.engine.backends.llama_cpp.model import Model
from ai_core.engine.backends.llama_cpp.scheduler import Limits
from ai_core.engine.backends.port import Chances, Constraint, ConstraintFailed, Sequence, Tokens
from ai_core.engine.constraints.compiling import byte_tokenizer, compile_grammar, tokenizer_for
from ai_core.engine.constraints.judging import judge
from ai_core.engine.constraints.matcher import Matcher
from ai_core.engine.messages import Grammar, Sampling
from ai_core_service import DEMO_MODEL, QUESTIONS

GREEDY = Sampling(temperature=0)
WILD = Sampling(temperature=1.5, top_p=1.0, seed=7)
PLACES = 8
CONTEXT = 1024
BYTES = byte_tokenizer()
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["cdi", "cdd", "stage"]}, "maxItems": 3},
        "boss": {"type": ["string", "null"], "maxLength": 4},
    },
    "required": ["name", "age", "tags", "boss"],
    "additionalProperties": False,
}


@dataclass
class Rig:
    """A backend, and what came out of it."""

    model: Model
    backend: LlamaCppBackend
    tokenizer: LLTokenizer
    said: dict[int, list[int]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    chances: dict[int, list[Chances]] = field(default_factory=dict)

    def follow(self, grammar: Grammar) -> Matcher:
        return Matcher(compile_grammar(self.tokenizer, judge(BYTES, grammar)), self.model.vocabulary_size)

    def prompt(self, question: str) -> Tokens:
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        tokens = self.model.vocabulary.encode(text, add_bos=False, parse_special=True)
        return np.asarray(tokens, dtype=np.int32)

    def submit(
        self,
        id_: int,
        question: str,
        constraint: Constraint | None = None,
        sampling: Sampling = GREEDY,
        *,
        limit: int = 400,
        chances: int | None = None,
    ) -> None:
        self.said[id_], self.chances[id_] = [], []
        prompt = self.prompt(question)
        self.backend.submit(Sequence(id_, prompt, sampling, limit, constraint=constraint, chances=chances))

    def finish(self) -> None:
        while self.backend.stats().free_sequences < PLACES:
            result = self.backend.step()
            for id_, token in result.tokens:
                self.said[id_].append(token)
                if id_ in result.chances:
                    self.chances[id_].append(result.chances[id_])
            self.ended.update(result.finished)
            self.lost.update(result.lost_grammar)

    def text(self, id_: int) -> str:
        return b"".join(self.model.vocabulary.piece(token) for token in self.said[id_]).decode()

    def say(self, question: str, grammar: Grammar | None, sampling: Sampling = GREEDY) -> str:
        self.submit(-1, question, None if grammar is None else self.follow(grammar), sampling)
        self.finish()
        return self.text(-1)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    forward_llama_logs("error")
    loaded = Model(DEMO_MODEL, lambda _progress: None)
    yield loaded
    loaded.close()


Start = Callable[[int], Rig]


@pytest.fixture(scope="module")
def start(model: Model) -> Iterator[Start]:
    contexts: list[Context] = []
    tokenizer = tokenizer_for(model.vocabulary, model.vocabulary_size)

    def start_one(cells: int) -> Rig:
        ids = PLACES + 9
        context = Context(model, ContextSettings(kv_cells=cells, sequence_ids=ids, threads=1))
        contexts.append(context)
        backend = LlamaCppBackend(
            model,
            context,
            sequence_ids=ids,
            max_sequences=PLACES,
            context_length=min(cells, CONTEXT),
            limits=Limits(),
            pause_bytes=1 << 28,
        )
        return Rig(model, backend, tokenizer)

    yield start_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def rig(start: Start) -> Rig:
    return start(4096)


def as_schema(schema: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(schema))


@pytest.mark.parametrize("sampling", [GREEDY, WILD, Sampling(temperature=0.8, top_k=20, seed=3)])
@pytest.mark.parametrize("question", QUESTIONS[:3])
def test_an_answer_under_a_schema_is_what_the_schema_says(
    rig: Rig, question: str, sampling: Sampling
) -> None:
    answer = rig.say(question, as_schema(PERSON), sampling)
    jsonschema.validate(json.loads(answer), PERSON)
    assert rig.ended[-1] == "stop"


SMALL = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 3}, {"enum": ["é", 1, None]}]),
    st.integers(0, 5).map(lambda most: {"type": "string", "maxLength": most}),
    st.just({"type": "integer", "minimum": -5, "maximum": 99}),
    st.just({"type": "string", "pattern": "^[a-z]{1,4}$"}),
)
SCHEMAS = st.recursive(
    SMALL,
    lambda inner: st.one_of(
        st.tuples(inner, st.integers(0, 3)).map(
            lambda pair: {"type": "array", "items": pair[0], "maxItems": pair[1]}
        ),
        st.dictionaries(st.sampled_from(["nom", "âge", 'x"y']), inner, max_size=3).map(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[1:],
                "additionalProperties": False,
            }
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda several: {"anyOf": several}),
    ),
    max_leaves=5,
)


@given(SCHEMAS, st.sampled_from([GREEDY, WILD]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_under_any_schema_parses_and_validates(
    rig: Rig, schema: Any, sampling: Sampling
) -> None:
    answer = rig.say(QUESTIONS[0], as_schema(schema), sampling)
    assert rig.ended[-1] == "stop"
    jsonschema.validate(json.loads(answer), schema)


def test_a_grammar_decides_where_the_answer_ends(rig: Rig) -> None:
    assert rig.say(QUESTIONS[0], Grammar("gbnf", 'root ::= "oui" | "non"')) in {"oui", "non"}
    assert rig.ended[-1] == "stop"
    answer = rig.say(QUESTIONS[0], Grammar("gbnf", 'root ::= ("a" root "b")?'))
    assert answer == "a" * (len(answer) // 2) + "b" * (len(answer) // 2)


def test_an_answer_that_is_cut_off_says_so(rig: Rig) -> None:
    rig.submit(1, QUESTIONS[0], rig.follow(as_schema(PERSON)), limit=5)
    rig.finish()
    assert rig.ended[1] == "length"
    assert len(rig.said[1]) == 5


def test_where_the_grammar_allows_what_the_model_says_anyway_nothing_changes(rig: Rig) -> None:
    free = rig.say(QUESTIONS[0], None)
    assert rig.say(QUESTIONS[0], Grammar("gbnf", "root ::= .*")) == free
    seeded = Sampling(temperature=0.7, seed=11)
    free = rig.say(QUESTIONS[0], None, seeded)
    assert rig.say(QUESTIONS[0], Grammar("gbnf", "root ::= .*"), seeded) == free


def test_a_seed_gives_the_same_answer_again(rig: Rig) -> None:
    answers = {rig.say(QUESTIONS[1], as_schema(PERSON), WILD) for _ in range(3)}
    assert len(answers) == 1
    others = {
        rig.say(QUESTIONS[1], as_schema(PERSON), Sampling(temperature=1.5, top_p=1, seed=seed))
        for seed in range(5)
    }
    assert len(others) > 1


def test_a_refused_choice_is_drawn_again_from_what_is_allowed_in_the_models_proportions(rig: Rig) -> None:
    grammar = Grammar("gbnf", "root ::= [aeiou]")
    drawn = [
        rig.say(QUESTIONS[0], grammar, Sampling(temperature=1.0, top_p=1.0, seed=seed)) for seed in range(300)
    ]
    rig.submit(0, QUESTIONS[0], chances=rig.model.vocabulary_size, limit=1)
    rig.finish()
    likely = {
        rig.model.vocabulary.piece(token).decode(errors="replace"): np.exp(logprob)
        for token, logprob in rig.chances[0][0].top
    }
    total = sum(likely[letter] for letter in "aeiou")
    for letter in "aeiou":
        expected = likely[letter] / total
        spread = 4 * np.sqrt(expected * (1 - expected) / len(drawn)) + 0.01
        assert abs(drawn.count(letter) / len(drawn) - expected) < spread


def test_penalties_and_biases_go_with_a_grammar(rig: Rig) -> None:
    grammar = Grammar("gbnf", "root ::= [ab]{8}")
    vocabulary = rig.model.vocabulary
    with_a = [token for token in range(rig.model.vocabulary_size) if b"a" in vocabulary.piece(token)]
    b_only = dict.fromkeys(with_a, -100.0)
    assert rig.say(QUESTIONS[0], grammar, Sampling(temperature=0, logit_bias=b_only)) == "b" * 8
    varied = rig.say(QUESTIONS[0], grammar, Sampling(temperature=0, presence_penalty=2, frequency_penalty=2))
    assert re.fullmatch("[ab]{8}", varied)
    assert set(varied) == {"a", "b"}


def test_plain_answers_in_the_same_batch_stay_what_they_are(rig: Rig) -> None:
    alone = [rig.say(question, None) for question in QUESTIONS[:4]]
    for number, question in enumerate(QUESTIONS[:4]):
        rig.submit(number, question)
        rig.submit(10 + number, question, rig.follow(as_schema(PERSON)), WILD)
    rig.finish()
    assert [rig.text(number) for number in range(4)] == alone
    for number in range(4):
        jsonschema.validate(json.loads(rig.text(10 + number)), PERSON)


def test_a_pause_forgets_nothing_of_the_grammar(start: Start) -> None:
    rig = start(256)
    for number in range(PLACES):
        rig.submit(number, QUESTIONS[number], rig.follow(as_schema(PERSON)), WILD)
    rig.finish()
    assert rig.backend.stats().pauses > 0
    for number in range(PLACES):
        assert rig.ended[number] == "stop"
        jsonschema.validate(json.loads(rig.text(number)), PERSON)


class Breaking:
    """A grammar that becomes too expensive after a few tokens."""

    complete = False

    def __init__(self) -> None:
        self.left = 3

    def take(self, _token: int) -> bool:
        self.left -= 1
        if self.left < 0:
            raise ConstraintFailed("too many items")
        return True

    def allowed(self) -> Tokens | None:
        return None

    def among(self, tokens: Tokens, most: int) -> Tokens:
        return tokens[:most]


class Barren(Breaking):
    """A grammar that nothing in the vocabulary continues."""

    def take(self, _token: int) -> bool:
        return False

    def among(self, tokens: Tokens, most: int) -> Tokens:
        return tokens[:0]


@pytest.mark.parametrize("broken", [Breaking, Barren])
def test_a_grammar_that_breaks_ends_its_own_sequence_only(rig: Rig, broken: type[Breaking]) -> None:
    alone = rig.say(QUESTIONS[0], None)
    rig.lost.clear()
    rig.ended.clear()
    rig.submit(1, QUESTIONS[0], broken())
    rig.submit(2, QUESTIONS[0])
    rig.finish()
    assert list(rig.lost) == [1]
    assert list(rig.ended) == [2]
    assert rig.text(2) == alone


class Choosy:
    """Cannot name all that it allows: only words in capitals."""

    complete = False

    def __init__(self, model: Model) -> None:
        self._vocabulary = model.vocabulary
        self.asked = 0

    def take(self, token: int) -> bool:
        return self._vocabulary.piece(token).decode(errors="replace").isupper()

    def allowed(self) -> Tokens | None:
        return None

    def among(self, tokens: Tokens, most: int) -> Tokens:
        self.asked += 1
        return np.asarray([token for token in tokens.tolist() if self.take(token)][:most], dtype=np.int32)


@pytest.mark.parametrize("sampling", [GREEDY, WILD])
def test_where_not_all_can_be_named_the_likeliest_that_fits_is_taken(rig: Rig, sampling: Sampling) -> None:
    choosy = Choosy(rig.model)
    rig.submit(1, QUESTIONS[0], choosy, sampling, limit=6)
    rig.finish()
    assert len(rig.said[1]) == 6
    assert rig.text(1).isupper()
    assert choosy.asked


# --- chances -------------------------------------------------------------------------------------------


def raw_distribution(rig: Rig, tokens: Tokens) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log probabilities of what may follow, out of a context of its own."""
    context = Context(rig.model, ContextSettings(kv_cells=512, sequence_ids=1, threads=1))
    batch = RowBatch(512)
    batch.add(0, tokens, 0, logits=True)
    context.decode(batch)
    logits = context.logits(1)[0].astype(np.float64)
    context.close()
    largest = logits.max()
    weighed: np.ndarray[Any, np.dtype[np.float64]] = logits - largest - np.log(np.exp(logits - largest).sum())
    return weighed


@pytest.mark.parametrize(
    "sampling",
    [GREEDY, WILD, Sampling(temperature=0, ignore_eos=True), Sampling(logit_bias={5: 50.0}, temperature=0)],
)
def test_chances_are_those_of_the_raw_logits_whatever_the_sampling(rig: Rig, sampling: Sampling) -> None:
    rig.submit(1, QUESTIONS[2], None, sampling, limit=4, chances=5)
    rig.submit(2, QUESTIONS[3])
    rig.finish()
    assert not rig.chances[2]
    known = rig.prompt(QUESTIONS[2])
    for token, chances in zip(rig.said[1], rig.chances[1], strict=True):
        expected = raw_distribution(rig, known)
        assert chances.logprob == pytest.approx(expected[token], abs=0.05)
        assert len(chances.top) == 5
        values = [logprob for _, logprob in chances.top]
        assert values == sorted(values, reverse=True)
        assert values == pytest.approx(np.sort(expected)[-5:][::-1].tolist(), abs=0.05)
        known = np.append(known, np.int32(token)).astype(np.int32)


def test_without_alternatives_only_the_token_itself_is_weighed(rig: Rig) -> None:
    rig.submit(1, QUESTIONS[2], chances=0, limit=3)
    rig.finish()
    assert [chances.top for chances in rig.chances[1]] == [[], [], []]
    assert all(chances.logprob <= 0 for chances in rig.chances[1])


def test_under_a_grammar_too_chances_are_the_models_own(rig: Rig) -> None:
    rig.submit(1, QUESTIONS[0], rig.follow(Grammar("gbnf", 'root ::= "zzz"')), chances=1)
    rig.finish()
    assert rig.text(1) == "zzz"
    assert rig.chances[1][0].logprob < rig.chances[1][0].top[0][1]
