"""What the compiler makes of schemas: every text that it lets through is what the schema describes; and
whatever a grammar does, the engine's own thread neither waits nor dies."""

from __future__ import annotations

import itertools
import json
import random
import select
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLParserLimits

from ai_core.engine.backends.port import Constraint, ConstraintFailed
from ai_core.engine.backends.scripted import ByteVocabulary
from ai_core.engine.constraints import vetting
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiler import GrammarCompiler
from ai_core.engine.constraints.compiling import byte_tokenizer, compile_grammar, tokenizer_for
from ai_core.engine.constraints.judging import judge
from ai_core.engine.constraints.matcher import Matcher
from ai_core.engine.messages import Grammar

VOCABULARY = 258
END = 257
TOKENIZER = tokenizer_for(ByteVocabulary(), VOCABULARY)
BYTES = byte_tokenizer()
LONGEST = 4_000
PATIENCE = 60.0

# --- what is let through -----------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "é", "x y", 'q"', "/"])
VALUES = st.sampled_from([None, True, 0, -3, 2.5, "", "a", "é\n", "\u0001", [1], {"k": [None]}])


def bounded(low: str, high: str, largest: int) -> st.SearchStrategy[dict[str, int]]:
    return st.one_of(
        st.just({}),
        st.integers(0, largest).map(lambda most: {high: most}),
        st.tuples(st.integers(0, largest), st.integers(0, largest)).map(
            lambda pair: {low: min(pair), high: max(pair)}
        ),
    )


NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": st.sampled_from([-10, 0, 2.5]),
        "maximum": st.sampled_from([3, 10, 100.5]),
        "exclusiveMinimum": st.sampled_from([-1, 2.5]),
        "exclusiveMaximum": st.sampled_from([5, 8.5]),
        "multipleOf": st.sampled_from([1, 3]),
    },
)
STRINGS = st.one_of(
    bounded("minLength", "maxLength", 6).map(lambda bounds: {"type": "string"} | bounds),
    st.sampled_from(["^[a-c]{1,3}$", "^x", "y$", "[0-9]", "^(foo|bar)+$", r"^\d{2}-\w$", "é|à"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)
PLAIN = st.one_of(
    NUMBERS,
    STRINGS,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"], "maxLength": 3}]),
    st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
)


def lists_of(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda bounds, more: {"type": "array"} | bounds | more,
        bounded("minItems", "maxItems", 3),
        st.fixed_dictionaries(
            {"items": schemas}, optional={"prefixItems": st.lists(schemas, min_size=1, max_size=2)}
        ),
    )


def objects_of(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def one(properties: dict[str, Any], needed: set[str], further: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(needed & properties.keys()),
            "additionalProperties": further,
        }

    return st.builds(
        one, st.dictionaries(NAMES, schemas, max_size=4), st.sets(NAMES), st.just(False) | schemas
    )


def several_of(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda key, several: {key: several},
        st.sampled_from(["anyOf", "oneOf", "allOf"]),
        st.lists(schemas, min_size=1, max_size=3),
    )


SCHEMAS = st.recursive(
    PLAIN, lambda inner: st.one_of(lists_of(inner), objects_of(inner), several_of(inner)), max_leaves=8
)


def anything_allowed(matcher: LLMatcher, chance: random.Random) -> str | None:
    """A text out of random bytes that the grammar allows; None where that goes on for ever."""
    said = bytearray()
    while not matcher.is_stopped():
        mask = matcher.compute_bitmask()
        assert not matcher.is_error(), matcher.get_error()
        allowed = [byte for byte in range(256) if mask[byte >> 3] >> (byte & 7) & 1]
        closing = [byte for byte in allowed if byte in b'"}]']
        if not allowed or (matcher.is_accepting() and chance.random() < 0.5):
            break
        hurry = 0.95 if len(said) > 60 else 0.4
        byte = chance.choice(closing if closing and chance.random() < hurry else allowed)
        assert matcher.try_consume_tokens([byte]) == 1
        said.append(byte)
        if len(said) > LONGEST:
            return None
    return said.decode()


@given(SCHEMAS, st.integers(0, 2**32))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_whatever_is_let_through_is_json_that_the_schema_describes(schema: Any, seed: int) -> None:
    try:
        text = judge(BYTES, Grammar("json_schema", json.dumps(schema)))
    except BadGrammar:
        assume(False)
    chance = random.Random(seed)  # noqa: S311 - a test's choices
    for _ in range(4):
        said = anything_allowed(compile_grammar(BYTES, text), chance)
        if said is not None:
            jsonschema.validate(json.loads(said), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object"}, '{"a": [1, {"b": null}]}', "[1]"),
        ({"type": "array", "items": {"type": "integer"}}, "[1,\n  2]", "[1, 2.5]"),
        ({"type": "string"}, '"é\\n\\u0001"', '"\n"'),
        ({"type": "integer"}, "-7", "07"),
        ({"type": "object"}, '{\n    "a": 1\n}', '{"a":  1}'),
        ({"type": "object"}, "{}", "{} "),
    ],
)
def test_json_is_json_with_little_white_space(schema: Any, good: str, bad: str) -> None:
    text = judge(BYTES, Grammar("json_schema", json.dumps(schema)))
    for said, fits in ((good, True), (bad, False)):
        matcher = compile_grammar(BYTES, text)
        taken = matcher.try_consume_tokens(list(said.encode()))
        assert (taken == len(said.encode()) and matcher.is_accepting()) is fits


# --- one sequence's place in its grammar ---------------------------------------------------------------


class Words:
    """Bytes, and all words of three letters out of five."""

    words = ("".join(letters).encode() for letters in itertools.product("abcde", repeat=3))
    pieces = (*(bytes([byte]) for byte in range(256)), *words, b"")
    end_tokens = frozenset({len(pieces) - 1})

    def piece(self, token: int) -> bytes:
        return self.pieces[token]


def matcher_for(gbnf: str) -> Matcher:
    text = judge(BYTES, Grammar("gbnf", gbnf))
    return Matcher(compile_grammar(TOKENIZER, text), VOCABULARY)


def limited(gbnf: str, limits: LLParserLimits) -> Matcher:
    """A matcher that may do less than those in service."""
    text, size = judge(BYTES, Grammar("gbnf", gbnf)), len(Words.pieces)
    return Matcher(LLMatcher(tokenizer_for(Words(), size), text, log_level=0, limits=limits), size)


def test_a_refused_token_changes_nothing_and_the_end_is_allowed_where_the_text_may_end() -> None:
    matcher = matcher_for('root ::= "a" "b"?')
    assert not matcher.take(ord("x"))
    assert not matcher.take(END)
    assert np.array_equal(matcher.allowed() or (), [ord("a")])
    assert matcher.take(ord("a"))
    allowed = matcher.allowed()
    assert allowed is not None
    assert allowed.tolist() == [ord("b"), END]
    some = np.asarray([END, ord("x"), ord("b")], dtype=np.int32)
    assert matcher.among(some, 9).tolist() == [END, ord("b")]
    assert matcher.among(some, 1).tolist() == [END]
    assert not matcher.complete
    assert matcher.take(ord("b"))
    assert matcher.complete


def test_control_tokens_are_never_allowed() -> None:
    allowed = matcher_for("root ::= .*").allowed()
    assert allowed is not None
    assert 256 not in allowed
    assert END in allowed


class TextualEnd(Words):
    """Its end has a text like any word, and there is no other control token."""

    pieces = (*(bytes([byte]) for byte in range(256)), b"abc")
    end_tokens = frozenset({256})


class Endless(Words):
    """No token ends an answer."""

    pieces = (*(bytes([byte]) for byte in range(256)), b"abc")
    end_tokens: frozenset[int] = frozenset()


@pytest.mark.parametrize(("words", "first"), [(TextualEnd(), [97]), (Endless(), [97, 256])])
def test_ends_are_no_text_and_text_is_no_end(words: Words, first: list[int]) -> None:
    size, text = len(words.pieces), judge(BYTES, Grammar("gbnf", 'root ::= "abc"+'))
    matcher = Matcher(compile_grammar(tokenizer_for(words, size), text), size)
    allowed = matcher.allowed()
    assert allowed is not None
    assert allowed.tolist() == first
    for letter in b"abc":
        assert matcher.take(letter)
    allowed = matcher.allowed()
    assert allowed is not None
    assert allowed.tolist() == [97, 256]


def test_where_the_whole_answer_would_take_too_long_single_tokens_are_still_told_apart() -> None:
    matcher = limited('root ::= "a" root "b" | x\nx ::= [a-c] | [c-e] x', LLParserLimits(step_max_items=20))
    assert matcher.allowed() is None
    letters = np.asarray([ord("z"), ord("c"), ord("a")], dtype=np.int32)
    assert matcher.among(letters, 9).tolist() == [ord("c"), ord("a")]
    assert matcher.take(ord("a"))
    assert not matcher.take(ord("z"))


def test_a_grammar_that_becomes_too_expensive_says_so_for_its_own_sequence() -> None:
    matcher = limited(
        'root ::= "x"? y y y y y y\ny ::= y y | "a" | "a"?', LLParserLimits(max_items_in_row=40)
    )

    def go_on() -> None:
        for _ in range(50):
            assert matcher.take(ord("a"))

    with pytest.raises(ConstraintFailed):
        go_on()


# --- beside the engine's steps -------------------------------------------------------------------------


@pytest.fixture
def compiler() -> Iterator[GrammarCompiler]:
    compiler = GrammarCompiler(TOKENIZER, VOCABULARY)
    yield compiler
    compiler.close()


def results(compiler: GrammarCompiler, count: int = 1) -> list[tuple[int, Constraint | BadGrammar]]:
    """What the compiler gives, waiting as the engine's loop does."""
    found: list[tuple[int, Constraint | BadGrammar]] = []
    while len(found) < count:
        assert select.select([compiler], [], [], PATIENCE)[0], "nothing came"
        found += compiler.finished()
    assert not select.select([compiler], [], [], 0)[0]
    return found


def schema(value: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(value))


def chained(length: int) -> Grammar:
    links = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)}
    return schema({"$defs": {**links, f"d{length}": {}}, "$ref": "#/$defs/d0"})


def test_a_grammar_comes_back_as_a_constraint_of_its_own(compiler: GrammarCompiler) -> None:
    for number in (1, 2):
        compiler.start(number, Grammar("gbnf", 'root ::= "ab"'), "")
    (first, one), (second, other) = results(compiler, 2)
    assert (first, second) == (1, 2)
    assert isinstance(one, Matcher)
    assert isinstance(other, Matcher)
    assert one.take(ord("a"))
    assert not other.take(ord("b"))


@pytest.mark.parametrize(
    "deadly",
    [
        pytest.param(chained(1_900), id="the stack overflows"),
        pytest.param(
            schema({"allOf": [{"type": "string", "pattern": f"a{{{n}}}"} for n in range(100)]}),
            id="it would take for ever",
        ),
    ],
)
def test_a_schema_that_kills_its_compiler_is_refused_and_the_next_one_is_compiled(
    compiler: GrammarCompiler, deadly: Grammar
) -> None:
    compiler.start(1, deadly, "")
    compiler.start(2, schema({"type": "null"}), "")
    (_, refused), (_, compiled) = results(compiler, 2)
    assert isinstance(refused, BadGrammar)
    assert "too complex" in str(refused)
    assert isinstance(compiled, Matcher)


def test_who_sends_many_grammars_waits_behind_who_sends_one(compiler: GrammarCompiler) -> None:
    for number in range(5):
        compiler.start(number, schema({"const": number}), "busy")
    compiler.start(9, schema({"const": "other"}), "other")
    order = [number for number, _ in results(compiler, 6)]
    assert order.index(9) <= 1
    assert [number for number in order if number != 9] == [0, 1, 2, 3, 4]


def test_a_dropped_grammar_never_comes_back(compiler: GrammarCompiler) -> None:
    for number in (1, 2, 3):
        compiler.start(number, schema({"const": number}), "")
    compiler.drop(1)
    compiler.drop(2)
    assert [number for number, _ in results(compiler)] == [3]


def test_a_verdict_is_remembered_so_the_process_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vetter = vetting.Vetter()
    asked: list[Grammar] = []
    ask = vetter._ask

    def noting(grammar: Grammar) -> vetting.Verdict:
        asked.append(grammar)
        return ask(grammar)

    monkeypatch.setattr(vetter, "_ask", noting)
    for _ in range(3):
        vetter.vet(schema({"type": "null"}))
        with pytest.raises(BadGrammar):
            vetter.vet(schema({"type": "nil"}))
    vetter.close()
    assert len(asked) == 2
