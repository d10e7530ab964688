"""One answer of a model that thinks and calls functions: what is told apart, and when it ends."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.chat.call_forms import CallForm, Family
from ai_core.engine.chat.reply import Reply, ReplyForm, Said
from ai_core.engine.chat.thinking import Tags
from ai_core.engine.messages import CallPiece

THINK = Tags("<think>", "</think>")
CALLS = CallForm(Family.TAGGED)
FULL = ReplyForm(thinking=THINK, calls=CALLS, names=frozenset({"now"}))
ANSWER = (
    "<think>\nÉtrange : END ?\n</think>\n\nJe regarde.\n"
    '<tool_call>\n{"name": "now", "arguments": {"zone": "END"}}\n</tool_call>'
)


def whole(form: ReplyForm, pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[Said, Reply]:
    """All that was said, and the reply in its final state."""
    reply = Reply(form, stop)
    said = [reply.push(0, piece) for piece in pieces]
    if not reply.stopped:
        said.append(reply.finish())
    calls = [piece for part in said for piece in part.calls]
    merged = [
        CallPiece(index, "".join(p.name for p in calls if p.index == index), arguments_of(calls, index))
        for index in sorted({piece.index for piece in calls})
    ]
    return Said("".join(p.text for p in said), "".join(p.reasoning for p in said), merged), reply


def arguments_of(calls: list[CallPiece], index: int) -> str:
    return "".join(piece.arguments for piece in calls if piece.index == index)


@given(st.lists(st.integers(0, len(ANSWER.encode()))))
def test_thoughts_text_and_calls_are_told_apart_however_the_bytes_are_cut(cuts: list[int]) -> None:
    data = ANSWER.encode()
    borders = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(borders)]
    said, reply = whole(FULL, pieces)
    assert said == ("Je regarde.\n", "Étrange : END ?", [CallPiece(0, "now", '{"zone": "END"}')])
    assert reply.has_calls is True


def test_stop_strings_end_text_and_are_not_looked_for_in_thoughts_and_calls() -> None:
    said, reply = whole(FULL, [ANSWER.encode()], stop=("END", "zone", "?"))
    assert not reply.stopped
    assert said.reasoning == "Étrange : END ?"
    assert said.calls
    said, reply = whole(FULL, [ANSWER.encode()], stop=("garde",))
    assert reply.stopped
    assert (said.text, said.calls) == ("Je re", [])


def test_what_was_held_back_for_a_stop_string_comes_at_the_end() -> None:
    said, _ = whole(FULL, [b"a E"], stop=("END",))
    assert said.text == "a E"


def test_tokens_of_thoughts_are_counted() -> None:
    _, reply = whole(FULL, [b"<think>", b"one", b" two", b"</think>", b"\n\n", b"Yes", b"."])
    assert reply.reasoning_tokens == 4
    opened = ReplyForm(thinking=THINK, inside=True)
    _, reply = whole(opened, [b"one", b"</think>", b"Yes"])
    assert reply.reasoning_tokens == 2


def test_enough_calls_end_an_answer() -> None:
    form = ReplyForm(calls=CALLS, names=frozenset({"now"}), most_calls=1)
    text = b'<tool_call>{"name": "now", "arguments": {}}'
    reply = Reply(form)
    assert reply.push(0, text).calls == [CallPiece(0, "now", "{}")]
    assert reply.stopped


def test_a_call_begun_in_the_prompt_goes_on_in_the_answer() -> None:
    form = ReplyForm(calls=CALLS, names=frozenset({"now"}), opening=CALLS.opening("now"))
    said, reply = whole(form, [b'{"zone"', b": 1}"])
    assert said == ("", "", [CallPiece(0, "now", '{"zone": 1}')])
    assert reply.has_calls is True


def test_control_tokens_that_mean_something_are_read_as_their_text() -> None:
    form = ReplyForm(
        thinking=Tags("[THINK]", "[/THINK]"),
        calls=CallForm(Family.LISTED, named=True),
        names=frozenset({"now"}),
        marks={1: b"[TOOL_CALLS]", 2: b"[ARGS]", 3: b"[THINK]", 4: b"[/THINK]"},
    )
    reply = Reply(form)
    tokens = [
        (3, b""),
        (9, b"hm"),
        (4, b""),
        (9, b"Wait."),
        (1, b""),
        (9, b"now"),
        (2, b""),
        (9, b"{}"),
        (7, b""),
    ]
    said = [reply.push(token, piece) for token, piece in tokens]
    assert [part.reasoning for part in said if part.reasoning] == ["hm"]
    assert "".join(part.text for part in said) == "Wait."
    assert [piece for part in said for piece in part.calls] == [CallPiece(0, "now", "{}")]


def test_broken_bytes_at_the_end_are_shown_as_such() -> None:
    assert whole(FULL, [b"caf\xc3"])[0].text == "caf�"
    assert whole(ReplyForm(thinking=THINK, inside=True), [b"caf\xc3"])[0].reasoning == "caf�"
