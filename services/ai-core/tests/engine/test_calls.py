"""From a model's text to calls of functions, whatever the model writes and however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ai_core.engine.chat.call_forms import CallForm, Family
from ai_core.engine.chat.calls import CallParser, Segment
from ai_core.engine.messages import CallPiece

TAGGED = CallForm(Family.TAGGED)
BARE = CallForm(Family.BARE, "parameters")
LISTED = CallForm(Family.LISTED)
NAMED = CallForm(Family.LISTED, named=True)
FORMS = {"tagged": TAGGED, "bare": BARE, "listed": LISTED, "named": NAMED}
NAMES = ("get_weather", "search")

Call = tuple[str, str]


def parse(form: CallForm, *pieces: str, most: int | None = None) -> list[str | Call]:
    """Text and calls in their order; whole, however they came."""
    parser = CallParser(form, NAMES, most)
    segments: list[Segment] = []
    for piece in pieces:
        segments += parser.push(piece)
    return together([*segments, *parser.finish()])


def together(segments: list[Segment]) -> list[str | Call]:
    parts: list[str | Call] = []
    for segment in segments:
        last = parts[-1] if parts else None
        if isinstance(segment, str):
            parts[-1:] = [last + segment] if isinstance(last, str) else [*parts[-1:], segment]
        elif segment.name:
            parts.append((segment.name, segment.arguments))
        else:
            assert isinstance(last, tuple)
            parts[-1] = (last[0], last[1] + segment.arguments)
    return parts


def written(form: CallForm, calls: list[tuple[str, Any]]) -> str:
    """Calls as a model of this family writes them."""
    as_json = [json.dumps(arguments, ensure_ascii=False) for _, arguments in calls]
    names = [json.dumps(name) for name, _ in calls]
    if form.named:
        texts = zip(calls, as_json, strict=True)
        return "".join(f"[TOOL_CALLS]{name}[ARGS]{arguments}" for (name, _), arguments in texts)
    texts_of_calls = [
        f'{{"name": {name}, "{form.arguments_key}": {arguments}}}'
        for name, arguments in zip(names, as_json, strict=True)
    ]
    match form.family:
        case Family.TAGGED:
            return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts_of_calls)
        case Family.BARE:
            return "; ".join(texts_of_calls)
        case Family.LISTED:
            return f"[TOOL_CALLS] [{', '.join(texts_of_calls)}]"


SCALARS = st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[]é\n<>/;', max_size=8)
ARGUMENTS = st.dictionaries(
    st.text(alphabet="abc_", min_size=1, max_size=4),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner)),
    max_size=3,
)
CALLS = st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS), min_size=1, max_size=3)
FORM_NAMES = st.sampled_from(sorted(FORMS))
# Whatever looks like a call, and is none, or is cut off, or goes on where none was expected.
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<tool_call>",
            "</tool_call>",
            "<tool",
            "_call>",
            "<|python_tag|>",
            "[TOOL_CALLS]",
            "[ARGS]",
            "[TOOL_",
            "search",
            '{"name": "search"',
            '"name"',
            ', "arguments": ',
            ', "parameters": ',
            '"search"',
            '{"a": 1}',
            "}",
            "{",
            "[",
            "]",
            ":",
            ",",
            ";",
            '"',
            "\\",
            " ",
            "\n",
            "Bonjour",
            "é",
        ]
    ),
    max_size=14,
).map("".join)


@given(FORM_NAMES, CALLS)
def test_calls_come_back_as_they_were_written(name: str, calls: list[tuple[str, Any]]) -> None:
    parsed = parse(FORMS[name], written(FORMS[name], calls))
    assert parsed == [(called, json.dumps(arguments, ensure_ascii=False)) for called, arguments in calls]


@given(FORM_NAMES, FRAGMENTS, st.data())
@example("tagged", '<tool_call>{"name": "search", "arguments": {"a": "</tool_call>', None)
@example("listed", '[TOOL_CALLS] [{"name": "search", "arguments": {}}, {"name', None)
def test_where_the_text_was_cut_makes_no_difference(name: str, text: str, data: st.DataObject | None) -> None:
    whole = parse(FORMS[name], text)
    assert parse(FORMS[name], *text) == whole
    if data is not None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert parse(FORMS[name], *pieces) == whole


@given(FORM_NAMES, FRAGMENTS)
def test_what_becomes_no_call_stays_text_to_the_last_character(name: str, text: str) -> None:
    parsed = parse(FORMS[name], text)
    if not any(isinstance(part, tuple) for part in parsed):
        assert "".join(str(part) for part in parsed) == text


@given(FORM_NAMES, FRAGMENTS)
def test_everything_that_is_shown_was_written_and_in_this_order(name: str, text: str) -> None:
    rest = text
    for part in parse(FORMS[name], text):
        for said in [part] if isinstance(part, str) else part:
            if said != "{}":
                before, found, rest = rest.partition(said)
                assert found == said, (before, said)


@given(st.sampled_from(["tagged", "listed", "named"]), st.text(alphabet="ab <[{\"'\n", max_size=40))
def test_text_is_not_held_back_once_no_call_can_come_of_it(name: str, text: str) -> None:
    parser = CallParser(FORMS[name], NAMES)
    mark = "<tool_call>" if name == "tagged" else "[TOOL_CALLS]"
    shown = ""
    for index, character in enumerate(text):
        for segment in parser.push(character):
            assert isinstance(segment, str)
            shown += segment
        held = text[len(shown) : index + 1]
        assert mark.startswith(held.lstrip() if not shown else held)


# Only "<" may be the beginning of what ends a call.
@given(FORM_NAMES, ARGUMENTS.filter(lambda arguments: arguments and "<" not in json.dumps(arguments)))
def test_arguments_stream_character_by_character(name: str, arguments: dict[str, Any]) -> None:
    form = FORMS[name]
    parser = CallParser(form, NAMES)
    parser.push(form.opening("search"))
    text = json.dumps(arguments)
    for character in text[:-1]:
        pieces = parser.push(character)
        assert "".join(piece.arguments for piece in pieces if isinstance(piece, CallPiece)) == character
    assert parser.complete == 0
    parser.push(text[-1])
    assert parser.complete == 1


@given(FORM_NAMES, CALLS)
def test_after_as_many_calls_as_are_wanted_nothing_more_is_read(
    name: str, calls: list[tuple[str, Any]]
) -> None:
    text = written(FORMS[name], calls)
    (called, arguments), *_ = calls
    for pieces in ([text], list(text)):
        assert parse(FORMS[name], *pieces, most=1) == [(called, json.dumps(arguments, ensure_ascii=False))]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_answer_that_begins_with_an_opening_is_a_call(form: CallForm) -> None:
    assert parse(form, form.opening("search"), '{"q": "SMIC"}') == [("search", '{"q": "SMIC"}')]
    whole = json.dumps({"name": "search", form.arguments_key: {"q": 1}})
    assert parse(form, form.opening(None), whole) == [("search", '{"q": 1}')]


@pytest.mark.parametrize(
    ("form", "text", "parsed"),
    [
        (TAGGED, 'I look.\n<tool_call>{"name": "search", "arguments": {}}</tool_call>\n\nDone.', None),
        (TAGGED, '<tool_call>{"name": "search"}</tool_call>', [("search", "{}")]),
        (TAGGED, '<tool_call>{"name": "search", "arguments": null}</tool_call>', [("search", "{}")]),
        (
            TAGGED,
            '<tool_call>{"arguments": {"a": [1, {"b": "}"}]}, "name": "search", "id": 7}</tool_call>',
            [("search", '{"a": [1, {"b": "}"}]}')],
        ),
        (
            TAGGED,
            '<tool_call>{"name": "search", "arguments": "{\\"a\\": 1}"}</tool_call>',
            [("search", '{"a": 1}')],
        ),
        (
            BARE,
            '{"type": "function", "name": "search", "parameters": {"q": "x"}}',
            [("search", '{"q": "x"}')],
        ),
        (BARE, 'Look: <|python_tag|>{"name": "search", "parameters": {}}', ["Look: ", ("search", "{}")]),
        (
            LISTED,
            '[TOOL_CALLS] [{"name": "search", "arguments": {"t": "[TOOL_CALLS]"}, "id": "abcdefghi"}]',
            [("search", '{"t": "[TOOL_CALLS]"}')],
        ),
        (NAMED, '[TOOL_CALLS]search[CALL_ID]abcdefghi[ARGS]{"q": 1}', [("search", '{"q": 1}')]),
    ],
)
def test_what_models_write(form: CallForm, text: str, parsed: list[str | Call] | None) -> None:
    assert parse(form, text) == (parsed or ["I look.\n", ("search", "{}"), "Done."])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (TAGGED, "Write <tool_call> around calls."),
        (TAGGED, "<tool_call>search(1)</tool_call>"),
        (TAGGED, '<tool_call>{"name": 3, "arguments": {}}</tool_call>'),
        (TAGGED, '<tool_call>{"name": "", "arguments": {}}</tool_call>'),
        (TAGGED, '<tool_call>["search"]</tool_call>'),
        (BARE, '{"name": "Paris", "parameters": {"population": 2}}'),
        (BARE, '{"name": "search"}'),
        (BARE, '{"name": "search", "age": 3, "parameters": {}}'),
        (BARE, 'Call {"name": "search", "parameters": {}}'),
        (BARE, "<|python_tag|>print(1)"),
        (LISTED, "[TOOL_CALLS] is what I write."),
        (LISTED, "[TOOL_CALLS][]"),
        (NAMED, "[TOOL_CALLS]search()"),
        (NAMED, "[TOOL_CALLS][ARGS]{}"),
    ],
)
def test_what_only_looks_like_a_call_is_text(form: CallForm, text: str) -> None:
    assert parse(form, text) == [text]


@pytest.mark.parametrize(
    ("form", "text", "parsed"),
    [
        (TAGGED, '<tool_call>{"name": "search", "arguments": {"q": "SM', [("search", '{"q": "SM')]),
        (TAGGED, '<tool_call>{"name": "sea', ['<tool_call>{"name": "sea']),
        (
            TAGGED,
            '<tool_call>{"name": "search", "arguments": {city: Paris}}</tool_call>',
            [("search", "{city: Paris}")],
        ),
        (
            TAGGED,
            '<tool_call>{"name": "search", "arguments": {"q": "open}}</tool_call> Done.',
            [("search", '{"q": "open}}'), "Done."],
        ),
        (TAGGED, '<tool_call>{"name": "search", "arguments": {}}}}</tool_call>', [("search", "{}")]),
        (LISTED, '[TOOL_CALLS] [{"name": "search", "arguments": {}}, oops', [("search", "{}"), ", oops"]),
        (NAMED, '[TOOL_CALLS]search[ARGS]{"q": ', [("search", '{"q": ')]),
    ],
)
def test_a_call_that_breaks_off_or_is_no_json_is_given_on_as_it_was_written(
    form: CallForm, text: str, parsed: list[str | Call]
) -> None:
    assert parse(form, text) == parsed
