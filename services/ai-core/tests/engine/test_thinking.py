"""Thoughts apart from answers, wherever the tokens cut the tags."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ai_core.engine.chat.thinking import KNOWN_TAGS, Tags, ThinkingSplitter, tags_in

THINK = Tags("<think>", "</think>")
PARTS = st.sampled_from(
    ["<think>", "</think>", "<", "think>", "</", "/think>", "<th", " ", "\n", "a", "é", "bc"]
)
TEXTS = st.lists(PARTS, max_size=12).map("".join)


def split(text: str, *, inside: bool = False, pieces: list[str] | None = None) -> tuple[str, str]:
    splitter = ThinkingSplitter(THINK, inside=inside)
    parts = [splitter.push(piece) for piece in (pieces if pieces is not None else [text])]
    parts.append(splitter.finish())
    return "".join(part.reasoning for part in parts), "".join(part.text for part in parts)


def said_otherwise(text: str, *, inside: bool) -> tuple[str, str]:
    """What the class promises, for a text that is all there."""
    begun = text.lstrip()
    if begun.startswith("<think>"):
        begun = begun.removeprefix("<think>")
    elif not inside:
        return "", text
    thoughts, _, answer = begun.partition("</think>")
    return thoughts.strip(), answer.lstrip()


@given(TEXTS, st.booleans())
@example("<think>a</think>b", False)
@example("a</think>\n\nb</think>", True)
@example("<think>a</thi", False)
@example(" \n<thin", True)
def test_an_answer_is_split_as_if_it_were_read_at_once(text: str, inside: bool) -> None:
    assert split(text, inside=inside) == said_otherwise(text, inside=inside)


@given(TEXTS, st.booleans(), st.data())
def test_where_the_text_was_cut_makes_no_difference(text: str, inside: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(text, inside=inside, pieces=pieces) == split(text, inside=inside)


@given(st.text(alphabet="ab é\n<t", max_size=30), st.text(alphabet="ab é\n", max_size=30))
def test_no_more_is_held_back_than_white_space_and_what_may_become_a_tag(thoughts: str, answer: str) -> None:
    splitter = ThinkingSplitter(THINK, inside=True)
    shown = ""
    for index, character in enumerate(thoughts):
        shown += splitter.push(character).reasoning
        held = thoughts[: index + 1].lstrip().removeprefix(shown).lstrip()
        assert "</think>".startswith(held) or "<think>".startswith(held)
    splitter.push("</think>")
    splitter.push("!")
    assert splitter.push(answer).text == answer


def test_thoughts_come_as_they_are_thought() -> None:
    splitter = ThinkingSplitter(THINK, inside=False)
    pieces = ["<thi", "nk>\n", "First", ", I", " look.", "\n</th", "ink>\n\n", "Yes", "."]
    assert [splitter.push(piece) for piece in pieces] == [
        ("", ""),
        ("", ""),
        ("First", ""),
        (", I", ""),
        (" look.", ""),
        ("", ""),
        ("", ""),
        ("", "Yes"),
        ("", "."),
    ]


def test_a_tag_in_the_middle_of_an_answer_is_text() -> None:
    text = "The tag <think> begins thoughts, </think> ends them."
    assert split(text) == ("", text)


def test_empty_thoughts_leave_nothing() -> None:
    assert split("<think>\n\n</think>\n\nYes.") == ("", "Yes.")


def test_thoughts_without_an_end_are_no_answer() -> None:
    assert split("<think>I wonder whether ") == ("I wonder whether", "")
    assert split("I wonder </thin", inside=True) == ("I wonder </thin", "")


def test_an_answer_that_begins_like_a_tag_is_an_answer() -> None:
    assert split("<thi") == ("", "<thi")
    assert split(" <think") == ("", " <think")


def test_a_prompt_that_ends_with_the_opening_tag_leaves_thoughts_open() -> None:
    assert THINK.left_open("<|im_start|>assistant\n<think>\n")
    assert not THINK.left_open("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize("tags", KNOWN_TAGS)
def test_the_tags_are_found_in_a_template_that_looks_for_the_closing_one(tags: Tags) -> None:
    assert tags_in("{{ content.split('" + tags.closing + "')[-1] }}") == tags


def test_a_template_without_tags_knows_no_thoughts() -> None:
    assert tags_in("{{ messages[0].content }}") is None
