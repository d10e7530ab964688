"""How the model reads what people send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram_service.dialogue.documents import framed, in_reach, is_cut, shortened, shown_name
from telegram_service.dialogue.incoming import Language

LONG = "x" * 3_000


def test_a_document_stands_under_its_name() -> None:
    document = framed("document", "bail.pdf", "Le loyer", Language.FRENCH, most_characters=500, cut=False)
    assert document == "Document « bail.pdf » :\nLe loyer"
    assert not is_cut(document)


def test_a_document_that_is_too_long_ends_with_a_mark() -> None:
    for text, cut in ((LONG, False), (LONG, True), ("short", True)):
        document = framed("photo", "photo.jpg", text, Language.ENGLISH, most_characters=500, cut=cut)
        assert document.startswith("Text read from a picture:\n")
        assert is_cut(document)
        assert len(document) <= 500


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\bail.pdf", "bail.pdf"),
        ("../..", ".."),
        ("", "?"),
        ("a\x00b\nc\u202ed", "a b c d"),
        ("é" * 200, "é" * 80),
    ],
)
def test_a_name_is_only_a_name(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_the_newest_document_is_always_read_and_older_ones_as_far_as_they_fit() -> None:
    assert in_reach(["a" * 300, "", "b" * 300, "c" * 300], 700) == ["", "", "b" * 300, "c" * 300]
    read = in_reach(["a" * 300, "b" * 900, ""], 500)
    assert read[0] == read[2] == ""
    assert is_cut(read[1])
    assert len(read[1]) <= 500
    assert in_reach(["a" * 300, "b" * 600, "c" * 300], 700) == ["", "", "c" * 300]
    assert in_reach([], 500) == []


@given(st.lists(st.text(max_size=2_000), max_size=6), st.integers(500, 5_000))
def test_there_is_never_more_than_there_is_room_for(documents: list[str], room: int) -> None:
    read = in_reach(documents, room)
    assert sum(map(len, read)) <= room
    assert len(read) == len(documents)
    for document, kept in zip(documents, read, strict=True):
        assert kept in {"", document, shortened(document, room)}
    newest = [kept for document, kept in zip(documents, read, strict=True) if document][-1:]
    assert all(newest)
