"""What a document is: by its bytes, whatever its name says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from document_samples import LETTER_PNG, archive, compound_file, pdf, word, word_97
from servicekit.documents.kinds import kind_of
from servicekit.documents.port import DocumentRefused, Kind, Refusal


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (pdf("a"), Kind.PDF),
        (b"\r\nX-Gateway: seen\r\n" + pdf("a"), Kind.PDF),
        (word("a"), Kind.DOCX),
        (word_97("a"), Kind.DOC),
        (LETTER_PNG.read_bytes(), Kind.IMAGE),
        (b"\xff\xd8\xff\xe0 and so on", Kind.IMAGE),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", Kind.IMAGE),
        (b"BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00", Kind.IMAGE),
        ("Le préavis".encode(), Kind.TEXT),
        ("Le préavis".encode("cp1252"), Kind.TEXT),
        ("Le préavis".encode("utf-16"), Kind.TEXT),
        ("Le préavis de démission".encode("utf-16-be"), Kind.TEXT),
        (b"BMW;Audi\n1;2\n", Kind.TEXT),
        (b"# A title\n\n<p>in Markdown</p>", Kind.TEXT),
        (b"  <!-- saved -->\n<!DOCTYPE html><p>a", Kind.HTML),
        (b"\xef\xbb\xbf<HTML><body>a", Kind.HTML),
    ],
)
@pytest.mark.parametrize("name", ["", "a.txt", "../../x", "a.md"])
def test_the_bytes_decide(data: bytes, kind: Kind, name: str) -> None:
    assert kind_of(data, name) is kind


@pytest.mark.parametrize("name", ["letter.pdf", "LETTER.DOCX", "C:\\x\\scan.png", "old.doc"])
def test_text_under_the_name_of_another_kind_is_not_believed(name: str) -> None:
    with pytest.raises(DocumentRefused) as caught:
        kind_of(b"just some text", name)
    assert caught.value.refusal is Refusal.UNREADABLE


def test_a_declared_type_counts_as_a_name_does() -> None:
    assert kind_of(b"<p>a</p>", content_type="Text/HTML; charset=utf-8") is Kind.HTML
    assert kind_of(b"<p>a</p>", "page.HTM") is Kind.HTML
    with pytest.raises(DocumentRefused) as caught:
        kind_of(b"error: not found", content_type="application/pdf")
    assert caught.value.refusal is Refusal.UNREADABLE


def test_a_picture_under_the_name_of_a_letter_is_a_picture() -> None:
    assert kind_of(LETTER_PNG.read_bytes(), "letter.pdf", "application/pdf") is Kind.IMAGE


def test_a_web_page_under_the_name_of_a_word_document_is_read() -> None:
    assert kind_of(b"<html xmlns:w='urn:schemas-microsoft-com:office:word'><p>a", "a.doc") is Kind.HTML


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"", Refusal.EMPTY),
        (b" \r\n\t", Refusal.EMPTY),
        (b"\x7fELF\x02\x01\x01" + bytes(100), Refusal.UNSUPPORTED),
        (bytes(range(256)) * 100, Refusal.UNSUPPORTED),
        (b"{\\rtf1\\ansi a}", Refusal.UNSUPPORTED),
        (word_97("a", locked=True), Refusal.ENCRYPTED),
        (compound_file({"EncryptionInfo": b"a", "EncryptedPackage": b"b"}), Refusal.ENCRYPTED),
        (archive(a=b"b")[:3] + b"\x00" * 50, Refusal.UNSUPPORTED),
    ],
)
def test_refusals(data: bytes, refusal: Refusal) -> None:
    with pytest.raises(DocumentRefused) as caught:
        kind_of(data, "name")
    assert caught.value.refusal is refusal


def test_ten_thousand_comments_are_looked_through_at_once() -> None:
    assert kind_of(b"<!-- a -->" * 10_000 + b"x") is Kind.TEXT


@given(st.binary(max_size=2_000), st.text(max_size=20), st.text(max_size=20))
def test_anything_has_a_kind_or_is_refused(data: bytes, name: str, content_type: str) -> None:
    with contextlib.suppress(DocumentRefused):
        assert isinstance(kind_of(data, name, content_type), Kind)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip))
def test_all_text_in_utf_8_is_text(text: str) -> None:
    assert kind_of(text.encode()) in {Kind.TEXT, Kind.HTML, Kind.PDF} or text.startswith(
        ("{\\rtf", "PK", "BM", "GIF")
    )
