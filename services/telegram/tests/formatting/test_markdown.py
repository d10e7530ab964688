"""What a model writes arrives: every word, in messages that Telegram takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.emulators.telegram.texts import accept_text

from telegram_service.formatting.document import VERBATIM, Kind, Style
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import MAX_ENTITIES, MAX_UNITS, TelegramMessage, to_messages, units
from telegram_service.messenger.bot_api import _entities

CORPUS = Path(__file__).with_name("corpus")
"""A file for each feature of Markdown, with many short texts; in ``answers.md`` and ``mixed.md``, several
features meet."""


def examples() -> dict[str, str]:
    """The texts of the corpus by feature and number."""
    return {
        f"{path.stem}-{number}": text
        for path in sorted(CORPUS.glob("*.md"))
        for number, text in enumerate(path.read_bytes().decode().split("\n=====\n"))
    }


EXAMPLES = examples()


def shown(text: str) -> TelegramMessage:
    (message,) = to_messages(read_markdown(text))
    return message


def looks(message: TelegramMessage) -> list[tuple[str, str]]:
    """Each entity as (kind or kind:argument, text)."""
    encoded = message.text.encode("utf-16-le")
    return [
        (
            ":".join(filter(None, (entity.style.kind.value, entity.style.argument))),
            encoded[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le"),
        )
        for entity in message.entities
    ]


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def is_within(part: str, whole: str) -> bool:
    """Whether all letters of a text appear in another one, in order."""
    rest = iter(whole)
    return all(letter in rest for letter in part)


def everything(messages: list[TelegramMessage]) -> str:
    """All that a reader gets, addresses of links and languages of code included, where they belong."""
    pieces = []
    for message in messages:
        encoded = message.text.encode("utf-16-le")
        arguments = sorted(
            (entity.offset + (0 if entity.style.kind is Kind.PRE else entity.length), entity.style.argument)
            for entity in message.entities
            if entity.style.argument
        )
        last = 0
        for place, argument in arguments:
            pieces += [encoded[2 * last : 2 * place].decode("utf-16-le"), argument]
            last = place
        pieces.append(encoded[2 * last :].decode("utf-16-le"))
    return "".join(pieces)


def assert_acceptable(message: TelegramMessage) -> None:
    """By what Telegram documents of texts and entities, and by what the emulator takes."""
    entities = [entity.to_dict() for entity in _entities(message)]
    assert accept_text(message.text, entities) == (message.text, entities)
    assert message.text == message.text.strip() != ""
    assert units(message.text) <= MAX_UNITS
    assert len(message.entities) <= MAX_ENTITIES
    for number, entity in enumerate(message.entities):
        assert 0 <= entity.offset < entity.offset + entity.length <= units(message.text)
        for other in message.entities[number + 1 :]:
            ends = entity.offset + entity.length
            apart = other.offset >= ends
            inside = entity.offset <= other.offset and other.offset + other.length <= ends
            assert apart or inside, f"{entity} and {other} cross"
            if inside and not apart:
                assert entity.style.kind not in VERBATIM
                assert other.style.kind not in VERBATIM or entity.style.kind is Kind.QUOTE
                assert entity.style.kind is not other.style.kind


@pytest.mark.parametrize(
    ("markdown", "text", "entities"),
    [
        ("Bonjour **à tous** !", "Bonjour à tous !", [("bold", "à tous")]),
        (
            "👋 *oui* ~~non~~ `x`",
            "👋 oui non x",
            [("italic", "oui"), ("strikethrough", "non"), ("code", "x")],
        ),
        ("**a *b* c**", "a b c", [("bold", "a b c"), ("italic", "b")]),
        ("# Le **préavis**", "Le préavis", [("bold", "Le préavis")]),
        ("```python\nx = 1\n  y\n```", "x = 1\n  y", [("pre:python", "x = 1\n  y")]),
        ("> cité\n> encore", "cité\nencore", [("blockquote", "cité\nencore")]),
        ("- un\n- deux\n  1. trois", "• un\n• deux\n  1. trois", []),
        ("a\r\n\r\n- b\r- c\r\n", "a\n\n• b\n• c", []),
        ("3. un\n4. deux", "3. un\n4. deux", []),
        ("[loi](https://a.fr/b)", "loi", [("text_link:https://a.fr/b", "loi")]),
        ('[loi](https://a.fr "titre")', "loi (titre)", [("text_link:https://a.fr", "loi")]),
        ("[loi](/local)", "loi (/local)", []),
        ("[](https://a.fr)", "https://a.fr", [("text_link:https://a.fr", "https://a.fr")]),
        ("[`x`](https://a.fr)", "x", [("text_link:https://a.fr", "x")]),
        ("**gras `code` gras**", "gras code gras", [("bold", "gras "), ("code", "code"), ("bold", " gras")]),
        ("<think>Hm</think> vector<int> &amp;", "<think>Hm</think> vector<int> &amp;", []),
        ("[a]: http://x.fr\n\ntexte", "[a]: http://x.fr\n\ntexte", []),
        ("a\n\n---\n\nb", "a\n\n———\n\nb", []),
        ("| a | b |\n|---|---|\n| c | d | e |", "| a | b |\n|---|---|\n| c | d | e |", [("pre", "*")]),
        ("2 * 3 * 4 et snake_case_name", "2 * 3 * 4 et snake_case_name", []),
        ("**non fermé", "**non fermé", []),
        ("```\nnon fermé", "non fermé", [("pre", "*")]),
    ],
)
def test_markdown_is_shown_as_it_is_meant(markdown: str, text: str, entities: list[tuple[str, str]]) -> None:
    message = shown(markdown)
    assert message.text == text
    assert looks(message) == [(kind, text if part == "*" else part) for kind, part in entities]


def assert_whole(text: str, messages: list[TelegramMessage]) -> None:
    """Every word of a text arrives, in order, in messages that Telegram takes."""
    for message in messages:
        assert_acceptable(message)
    assert is_within(letters(text.replace("\0", "")), letters(everything(messages)))


@pytest.mark.parametrize("which", EXAMPLES)
def test_every_example_of_the_corpus_arrives_whole(which: str) -> None:
    example = EXAMPLES[which]
    assert_whole(example, to_messages(read_markdown(example)))


@pytest.mark.parametrize("which", EXAMPLES)
def test_every_example_arrives_whole_as_far_as_it_is_written(which: str) -> None:
    """As it is shown while the model writes it: with an end in the middle of anything."""
    example = EXAMPLES[which]
    for end in range(1, len(example), 1 + len(example) // 12):
        assert_whole(example[:end], to_messages(read_markdown(example[:end] + " …")))


def test_the_corpus_has_something_of_everything() -> None:
    assert len(EXAMPLES) >= 250
    features = {name.partition("-")[0] for name in EXAMPLES}
    assert {"emphasis", "code", "lists", "tables", "links", "html", "quotes", "headings"} <= features


@given(st.lists(st.sampled_from(sorted(EXAMPLES)), max_size=12))
@settings(max_examples=50)
def test_examples_after_each_other_arrive_whole(names: list[str]) -> None:
    """Long answers, in which what one text leaves open meets the next."""
    text = "\n\n".join(EXAMPLES[name] for name in names)
    assert_whole(text, to_messages(read_markdown(text)))


WORDS = st.sampled_from(
    [
        "contrat",
        "Préavis",
        "L1234-5",
        "👩\u200d⚖️",
        "é",
        "𝕏",
        "foo_bar",
        "&lt;",
        "<b>",
        "C++",
        "1.",
        "…",
        "\u200f",
        "اب",
        "~",
        "<!--",
        "-->",
        "2)",
        "http://c.fr/é",
    ]
)
MARKS = st.sampled_from(
    [
        "**",
        "*",
        "_",
        "~~",
        "`",
        "```",
        "```python",
        "\\",
        "[",
        "](",
        "https://a.fr/x",
        ")",
        "![",
        "<https://b.fr>",
        "(",
        '"t"',
        "|",
        "|---|\n",
        "---\n",
    ]
)
BREAKS = st.sampled_from(["\n", "\n\n", "# ", "> ", "- ", "1. ", "    ", "| ", "    \n", "\t", " "])
model_like = st.lists(st.one_of(WORDS, MARKS, BREAKS), max_size=80).map("".join)


@given(model_like)
def test_whatever_a_model_writes_no_word_is_lost(text: str) -> None:
    assert_whole(text, to_messages(read_markdown(text)))


@given(st.text(max_size=300))
def test_any_text_arrives(text: str) -> None:
    assert_whole(text, to_messages(read_markdown(text)))


@given(model_like, st.integers(2, 60), st.integers(1, 5))
@example("<https://b.fr>|---|\n---\n", 2, 1)
def test_long_answers_go_on_in_further_messages(text: str, max_units: int, max_entities: int) -> None:
    document = read_markdown(text)
    messages = to_messages(document, max_units=max_units, max_entities=max_entities)
    for message in messages:
        assert_acceptable(message)
        assert units(message.text) <= max_units
        assert len(message.entities) <= max_entities
    said = "".join(block.text for block in document)
    assert re.sub(r"\s", "", "".join(message.text for message in messages)) == re.sub(r"\s", "", said)


def test_a_long_answer_is_divided_between_paragraphs() -> None:
    paragraphs = [f"Paragraphe {number}. " + "mot " * 200 for number in range(12)]
    messages = to_messages(read_markdown("\n\n".join(paragraphs)))
    assert len(messages) > 1
    assert all(message.text.startswith("Paragraphe") for message in messages)


def test_a_long_block_of_code_is_divided_between_lines_and_stays_code() -> None:
    code = "\n".join(f"    value_{number} = {number}" for number in range(400))
    messages = to_messages(read_markdown(f"```python\n{code}\n```"))
    assert len(messages) > 1
    assert "\n".join(message.text for message in messages).split() == code.split()
    for message in messages:
        assert [(entity.style, entity.length) for entity in message.entities] == [
            (Style(Kind.PRE, "python"), units(message.text))
        ]


def test_a_text_of_spaces_is_no_message() -> None:
    assert to_messages(read_markdown(" \n\t\n ")) == []
