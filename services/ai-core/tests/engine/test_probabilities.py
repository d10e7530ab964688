"""Log probabilities come with their text, one for each token of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.answer import Answer
from ai_core.engine.backends.port import Chances
from ai_core.engine.backends.scripted import ByteVocabulary
from ai_core.engine.chat.reply import ReplyForm
from ai_core.engine.chat.thinking import Tags
from ai_core.engine.messages import TokenLogprob


def said(data: bytes, stop: list[str], form: ReplyForm | None = None) -> tuple[str, list[TokenLogprob]]:
    """The text and the entries of an answer whose tokens are bytes. The i-th token has logprob -i."""
    answer = Answer(form or ReplyForm(), stop, ByteVocabulary(), with_logprobs=True)
    text = ""
    entries: list[TokenLogprob] = []
    for number, byte in enumerate(data):
        delta = answer.push(1, byte, Chances(float(-number), [(byte, float(-number)), (257, -9.0)]))
        assert delta.logprobs is not None
        text += delta.text
        entries += delta.logprobs
        if answer.stopped:
            break
    rest, logprobs = answer.finish()
    assert logprobs is not None
    return text + rest.text, entries + logprobs


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_the_entries_are_those_of_the_shown_text_in_order(text: str, stop: list[str]) -> None:
    shown, entries = said(text.encode(), stop)
    assert b"".join(entry.token for entry in entries).decode(errors="replace").startswith(shown)
    assert len(entries) == len(shown.encode())
    assert [entry.logprob for entry in entries] == [-float(number) for number in range(len(entries))]


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_have_entries_too(data: bytes) -> None:
    _, entries = said(data, [])
    assert b"".join(entry.token for entry in entries) == data


def test_an_entry_comes_with_the_last_byte_of_its_character() -> None:
    answer = Answer(ReplyForm(), [], ByteVocabulary(), with_logprobs=True)
    first, second = (answer.push(1, byte, Chances(-1.0, [])) for byte in "é".encode())
    assert (first.text, second.text) == ("", "é")
    assert [entry.token for entry in [*(first.logprobs or ()), *(second.logprobs or ())]] == [
        b"\xc3",
        b"\xa9",
    ]


def test_a_control_token_among_the_likely_ones_is_shown_by_its_name() -> None:
    _, [entry] = said(b"a", [])
    assert [(other.token, other.control) for other in entry.top] == [(b"a", False), (b"<|im_end|>", True)]


def test_thoughts_have_no_entries() -> None:
    form = ReplyForm(thinking=Tags("<think>", "</think>"))
    text, entries = said(b"<think>hm</think>yes", [], form)
    assert text == "yes"
    assert b"".join(entry.token for entry in entries).endswith(b"yes")
    assert b"hm" not in b"".join(entry.token for entry in entries)


def test_without_being_asked_nothing_is_reported() -> None:
    answer = Answer(ReplyForm(), [], ByteVocabulary(), with_logprobs=False)
    assert answer.push(1, ord("a"), None).logprobs is None
    assert answer.finish()[1] is None
