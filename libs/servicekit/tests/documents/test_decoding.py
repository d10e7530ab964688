"""From bytes to text: no letter is lost, whatever the charset is said to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.documents.decoding import clean, decoded

FRENCH = "Le salarié à l'œuvre : 12 € de prime, « déjà » payés – peut-être."


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(
    "said", [None, "utf-8", "nonsense", "rot13", "punycode", "iso-8859-1\x00", '"UTF-8"']
)
def test_french_is_read_whatever_is_said_about_it(charset: str, said: str | None) -> None:
    assert decoded(FRENCH.encode(charset), said) == FRENCH


def test_a_charset_that_is_declared_is_believed_where_it_may_be_right() -> None:
    assert decoded("Привет".encode("koi8-r"), "koi8-r") == "Привет"
    assert decoded("Привет".encode(), "koi8-r") == "Привет"


def test_a_list_whose_lines_come_from_different_programs_is_read_line_by_line() -> None:
    data = b"nom;ville\n" + "Zoé;Orléans\n".encode() + "Chloé;Nîmes\r\n".encode("cp1252")
    assert decoded(data) == "nom;ville\nZoé;Orléans\nChloé;Nîmes\n"


def test_ends_of_lines_are_one_character() -> None:
    assert clean("a\r\nb\rc\nd\x00e\ud800") == "a\nb\nc\nde?"


@given(st.binary(max_size=500), st.none() | st.text(max_size=20))
def test_nothing_fails(data: bytes, charset: str | None) -> None:
    text = decoded(data, charset)
    assert text.encode().decode() == text
    assert "\r" not in text
    assert "\x00" not in text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff")))
def test_utf_8_comes_through_unchanged(text: str) -> None:
    assert decoded(text.encode(), "iso-8859-1") == text
