"""Answers that may call strict functions: text is free, arguments keep to their schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.chat.call_forms import CallForm, Family
from ai_core.engine.chat.call_grammars import strict_calls
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import byte_tokenizer, compile_grammar
from ai_core.engine.constraints.judging import judge
from ai_core.engine.messages import Tool

TAGGED = CallForm(Family.TAGGED)
BARE = CallForm(Family.BARE, "parameters")
LISTED = CallForm(Family.LISTED)
NAMED = CallForm(Family.LISTED, named=True)
FORMS = {"tagged": TAGGED, "bare": BARE, "listed": LISTED, "named": NAMED}
TOKENIZER = byte_tokenizer()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"city": {"enum": ["Paris", "Lyon"]}},
}
WEATHER = Tool("get_weather", "", SCHEMA, strict=True)
NOW = Tool("now")


def grammar_of(form: CallForm) -> str:
    grammar = strict_calls(form, [WEATHER, NOW])
    assert grammar is not None
    return judge(TOKENIZER, grammar)


GRAMMARS = {name: grammar_of(form) for name, form in FORMS.items()}


def taken(name: str, text: str) -> tuple[bool, bool]:
    """Whether the whole text may be written, and whether the answer may end there."""
    matcher = compile_grammar(TOKENIZER, GRAMMARS[name])
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data), bool(matcher.is_accepting())


def call(name: str, function: str, arguments: dict[str, Any]) -> str:
    """One call in this form, without what stands around."""
    if name == "named":
        return f"{function}[ARGS]{json.dumps(arguments)}"
    key = FORMS[name].arguments_key
    return f'{{"name": "{function}", "{key}": {json.dumps(arguments)}}}'


AROUND = {
    "tagged": ("<tool_call>\n", "\n</tool_call>"),
    "bare": ("", ""),
    "listed": ("[TOOL_CALLS] [", "]"),
    "named": ("[TOOL_CALLS]", ""),
}
EVERY_FORM = pytest.mark.parametrize("name", sorted(FORMS))


@EVERY_FORM
def test_calls_that_keep_to_their_schemas_can_be_made(name: str) -> None:
    before, behind = AROUND[name]
    for function, arguments in (("get_weather", {"city": "Paris"}), ("now", {"any": [1]}), ("now", {})):
        assert taken(name, before + call(name, function, arguments) + behind) == (True, True)


@EVERY_FORM
@pytest.mark.parametrize(
    ("function", "arguments"),
    [("get_weather", {"city": "Rome"}), ("get_weather", {}), ("get_weather", {"c": 1}), ("other", {})],
)
def test_others_cannot(name: str, function: str, arguments: dict[str, Any]) -> None:
    before, behind = AROUND[name]
    assert taken(name, before + call(name, function, arguments) + behind)[0] is False


@EVERY_FORM
def test_several_calls_can_be_made(name: str) -> None:
    one, two = call(name, "now", {}), call(name, "get_weather", {"city": "Lyon"})
    texts = {
        "tagged": f"<tool_call>\n{one}\n</tool_call>\n<tool_call>\n{two}\n</tool_call>",
        "bare": f"{one}; {two}",
        "listed": f"[TOOL_CALLS] [{one}, {two}]",
        "named": f"[TOOL_CALLS]{one}[TOOL_CALLS]{two}",
    }
    assert taken(name, texts[name]) == (True, True)


@given(st.sampled_from(sorted(FORMS)), st.text(alphabet="ab <{[\"'\né_|>", max_size=30))
def test_an_answer_without_calls_is_free(name: str, text: str) -> None:
    free, may_end = taken(name, text)
    if name != "bare" or not text.lstrip().startswith("{"):
        assert (free, may_end) == (True, True)


def test_thoughts_and_text_may_stand_before_a_call() -> None:
    text = "<think>I could.</think>\n\nI look.\n<tool_call>\n"
    assert taken("tagged", text + call("tagged", "now", {}) + "\n</tool_call> Done.") == (True, True)


@EVERY_FORM
def test_a_schema_that_cannot_be_used_is_refused_with_its_functions_name(name: str) -> None:
    grammar = strict_calls(FORMS[name], [NOW, Tool("bad", "", {"type": "nonsense"}, strict=True)])
    assert grammar is not None
    with pytest.raises(BadGrammar, match="bad"):
        judge(TOKENIZER, grammar)


def test_where_nothing_is_strict_there_is_no_grammar() -> None:
    assert strict_calls(TAGGED, [NOW]) is None
