from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from ai_core.engine.text import TextAssembler

FEW_LETTERS = st.text(alphabet="abé€\U0001f600", max_size=30)
STOPS = st.lists(st.text(alphabet="abé€", min_size=1, max_size=5), max_size=16)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def shown(stop: list[str], pieces: list[bytes]) -> list[str]:
    assembler = TextAssembler(stop)
    return [*(assembler.push(piece) for piece in pieces), assembler.finish()]


def cut_at_stop(text: str, stop: list[str]) -> str:
    """What the class promises, said in another way: read on until some stop string is complete."""
    for end in range(len(text) + 1):
        complete = [each for each in stop if text[:end].endswith(each)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


@given(FEW_LETTERS, STOPS, st.lists(st.integers(0, 200)))
@example("ababac", ["abac"], [2, 4])
@example("abcd", ["abcd", "bc"], [])
def test_however_the_bytes_are_cut_the_text_ends_at_the_stop_string(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    assert "".join(shown(stop, pieces_of(text.encode(), cuts))) == cut_at_stop(text, stop)


@given(st.binary(max_size=60), st.lists(st.integers(0, 200)))
def test_any_bytes_are_shown_as_python_would_decode_them_at_once(data: bytes, cuts: list[int]) -> None:
    assert "".join(shown([], pieces_of(data, cuts))) == data.decode("utf-8", "replace")


@given(st.binary(max_size=40), STOPS, st.lists(st.integers(0, 200)))
def test_broken_bytes_and_stop_strings_together_do_not_depend_on_the_cuts(
    data: bytes, stop: list[str], cuts: list[int]
) -> None:
    stop = [*stop, "�a"]
    assert "".join(shown(stop, pieces_of(data, cuts))) == cut_at_stop(data.decode("utf-8", "replace"), stop)


@given(FEW_LETTERS, STOPS)
def test_no_more_is_held_back_than_may_become_a_stop_string(text: str, stop: list[str]) -> None:
    assembler = TextAssembler(stop)
    so_far = ""
    for index, character in enumerate(text):
        so_far += assembler.push(character.encode())
        if assembler.stopped:
            return
        held = text[len(so_far) : index + 1]
        assert held == "" or any(each.startswith(held) for each in stop)


def test_half_a_character_waits_for_its_other_half() -> None:
    assert shown([], [b"caf\xc3", b"\xa9"]) == ["caf", "é", ""]


def test_a_byte_that_cannot_become_a_character_is_shown_at_once() -> None:
    assert shown([], [b"\xff", b"a"]) == ["�", "a", ""]


def test_half_a_character_at_the_end_becomes_a_replacement_character() -> None:
    assert shown([], [b"a\xe2\x82"]) == ["a", "�"]


def test_the_beginning_of_a_stop_string_is_held_back_until_it_turns_out_otherwise() -> None:
    assert shown(["<end>"], [b"a<e", b"nd", b"!b"]) == ["a", "", "<end!b", ""]


def test_what_is_held_back_is_shown_when_the_answer_ends_without_the_stop_string() -> None:
    assert shown(["<end>"], [b"a<e"]) == ["a", "<e"]


def test_nothing_is_shown_after_a_stop_string() -> None:
    assembler = TextAssembler(["END"])
    assert assembler.push(b"oneENDtwo") == "one"
    assert assembler.stopped
    assert assembler.push(b"three") == ""
    assert assembler.finish() == ""


def test_the_stop_string_that_is_complete_first_wins() -> None:
    assert "".join(shown(["abcd", "bc"], [b"xabcd"])) == "xa"


def test_of_stop_strings_complete_at_the_same_character_the_longest_is_cut_off() -> None:
    assert "".join(shown(["c", "abc", "bc"], [b"xabcd"])) == "x"


def test_empty_stop_strings_stop_nothing() -> None:
    assert "".join(shown([""], [b"abc"])) == "abc"


def test_a_stop_string_may_be_completed_by_the_last_broken_character() -> None:
    assembler = TextAssembler(["a�"])
    assert assembler.push(b"xa\xe2") == "x"
    assert assembler.finish() == ""
    assert assembler.stopped
