"""GBNF means here what it means in llama.cpp: every text it describes, and no other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from llama_cpp import llama_grammar

from ai_core.engine.constraints import gbnf
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import byte_tokenizer, compile_grammar, translate
from ai_core.engine.messages import Grammar

TOKENIZER = byte_tokenizer()
ALPHABET = "ab"
TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product(ALPHABET, repeat=length)]
JSON_TEXT = '{"name": "Ève", "list": [1, -2.5e3, true, null, {}], "deep": {"a": ["\\n"]}}'

Spans = frozenset[tuple[int, int]]


def accepts(grammar: str, text: str) -> bool:
    matcher = compile_grammar(TOKENIZER, translate(Grammar("gbnf", grammar)))
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


def spans(part: gbnf.Part, text: str, known: dict[str, Spans]) -> Spans:
    """Where in a text a part of a grammar can stand, by the definition of the notation."""
    match part:
        case gbnf.Characters(ranges, negated):
            inside = [any(first <= ord(letter) <= last for first, last in ranges) for letter in text]
            return frozenset((place, place + 1) for place, found in enumerate(inside) if found != negated)
        case gbnf.Name(name):
            return known[name]
        case gbnf.Sequence(parts):
            found = nothing(text)
            for inner in parts:
                found = joined(found, spans(inner, text, known))
            return found
        case gbnf.Choice(parts):
            return frozenset().union(*(spans(inner, text, known) for inner in parts))
        case gbnf.Repetition(inner, least, most):
            once = spans(inner, text, known)
            found = nothing(text)
            for _ in range(least):
                found = joined(found, once)
            everything = found
            for _ in range(len(text) + 1 if most is None else most - least):
                found = joined(found, once)
                everything |= found
            return everything


def nothing(text: str) -> Spans:
    return frozenset((place, place) for place in range(len(text) + 1))


def joined(left: Spans, right: Spans) -> Spans:
    return frozenset((start, end) for start, middle in left for other, end in right if other == middle)


def described(rules: dict[str, gbnf.Part], text: str) -> bool:
    known: dict[str, Spans] = dict.fromkeys(rules, frozenset())
    while True:
        found = {name: spans(part, text, known) for name, part in rules.items()}
        if found == known:
            return (0, len(text)) in known[gbnf.ROOT]
        known = found


NAMES = ["root", "x", "y"]
PARTS = st.recursive(
    st.sampled_from(['"a"', '"b"', '"ab"', "[ab]", "[^a]", ".", '""', *NAMES]),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(" ".join),
        st.lists(parts, min_size=1, max_size=3).map(lambda several: f"({' | '.join(several)})"),
        st.tuples(parts, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{2,}", "{,2}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)
GRAMMARS = st.tuples(PARTS, PARTS, PARTS).map(
    lambda parts: "\n".join(f"{name} ::= {part}" for name, part in zip(NAMES, parts, strict=True))
)


@given(GRAMMARS)
@example('root ::= x "a"\nx ::= [ab]*\ny ::= "a"')
@example('root ::= "a" root "b" | x\nx ::= "a"*\ny ::= "a"')
@example('root ::= root root | "a" | ""\nx ::= "a"\ny ::= "b"')
@example('root ::= x | y\nx ::= "a" y "b"?\ny ::= ("ab" | "a") x?')
def test_a_grammar_accepts_what_it_describes_and_nothing_else(grammar: str) -> None:
    rules = gbnf.parse(grammar)
    try:
        gbnf.to_lark(grammar)
    except BadGrammar as error:
        assume("never ends" not in str(error))
        raise
    wrong = [text for text in TEXTS if accepts(grammar, text) != described(rules, text)]
    assert not wrong


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (llama_grammar.JSON_GBNF, JSON_TEXT, '{"a": 01}'),
        (llama_grammar.JSON_ARR_GBNF, '[\n1,\n"a"]', '["a"]'),
        (llama_grammar.ARITHMETIC_GBNF, "x = (3+y)\nz=1\n", "x = (3+y\n"),
        (llama_grammar.C_GBNF, "int main(int x){x = 1;return x+2;}", "int main(int x){x = ;}"),
        (llama_grammar.LIST_GBNF, "- un\n- deux\n", "- un\n-deux\n"),
    ],
)
def test_the_grammars_that_come_with_llama_cpp_work(grammar: str, good: str, bad: str) -> None:
    assert accepts(grammar, good)
    assert not accepts(grammar, bad)


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (r'root ::= "\"\\\n\t\x41\u00e9\U0001F600"', '"\\\n\tAé😀', '"'),
        (r"root ::= [\]a\[-]+", "]-a[", "b"),
        (r"root ::= [a-]+", "a-a", "b"),
        (r"root ::= [^\n]", "é", "\n"),
        ("root ::= .", "\n", "ab"),
        ('# rule\nroot ::= ( "a" # one\n | "b"\n )  # end\n', "b", "c"),
        ('root ::= "a" |\n  "b"', "b", ""),
        ('root ::= rule-1\nrule-1 ::= "x"{2}{2}', "xxxx", "xxx"),
        ('root ::= "a"{0}"b"', "b", "ab"),
        ("root ::= [а-я]+", "привет", "a"),
    ],
)
def test_escapes_classes_comments_and_line_breaks(grammar: str, good: str, bad: str) -> None:
    assert accepts(grammar, good)
    assert not accepts(grammar, bad)


def mistakes() -> Iterator[tuple[str, str]]:
    yield "", "no rule named 'root'"
    yield "other ::= root", "no rule named 'root'"
    yield 'root ::= "a"\nroot ::= "b"', "line 2: the rule 'root' is defined twice"
    yield "root ::= thing", "line 1: no rule is named 'thing'"
    yield 'root ::= "a" root', "the rule 'root' never ends"
    yield 'root ::= "x" | a\na ::= "a" b\nb ::= a', "never ends"
    yield 'root = "a"', "line 1: '::=' is expected"
    yield 'root ::= "a', "ends inside of a text"
    yield "root ::= [a", "ends inside of a text or a class"
    yield "root ::= []", "line 1: a class has no characters"
    yield "root ::= [z-a]", "goes backwards"
    yield r'root ::= "\q"', "is no escape"
    yield r'root ::= "\x4"', "is no escape"
    yield r'root ::= "\uD800"', "is no character"
    yield 'root ::= ("a"', "line 1: ')' is expected"
    yield 'root ::= "a")', "line 1: ')' is unexpected"
    yield 'root ::= "a"{3,2}', "goes backwards"
    yield 'root ::= "a"{x}', "a repetition is written"
    yield 'root ::= "a"{99999}', "more than 2000 times"
    yield "root ::= <[1]>", "tokens in grammars are not supported"
    yield "root ::= !<think>", "tokens in grammars are not supported"
    yield "root ::= \n | x", "no rule is named 'x'"
    yield "root ::= " + "(" * 50 + '"a"' + ")" * 50, "nested more than 40 deep"
    yield 'root ::= "a" | "b" root' + ' "c"' * 1_000, "500 are the most"
    yield f'root ::= "{"a" * 200_000}"', "100000 characters"


@pytest.mark.parametrize(("grammar", "reason"), list(mistakes()))
def test_mistakes_are_named_with_their_line(grammar: str, reason: str) -> None:
    with pytest.raises(BadGrammar) as caught:
        translate(Grammar("gbnf", grammar))
    assert reason in str(caught.value)


@given(
    st.text(max_size=60)
    | st.text(alphabet='rot:= "a[]()|*+?{},0-9\\\n', max_size=60).map("root ::= ".__add__)
)
def test_no_text_whatever_is_more_than_a_bad_grammar(text: str) -> None:
    with suppress(BadGrammar):
        assert translate(Grammar("gbnf", text)).startswith("%llguidance")
