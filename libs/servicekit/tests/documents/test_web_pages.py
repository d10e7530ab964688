"""What a reader of a web page sees."""

from hypothesis import given
from hypothesis import strategies as st

from servicekit.documents.web_pages import text_of_html


def test_paragraphs_items_and_rows_stand_on_lines_of_their_own() -> None:
    page = """<html><head><title>Lettre</title><style>p {color: red}</style></head><body>
    <script>steal()</script><p>Bonjour <b>vous</b>,<br>deux&nbsp;lignes &amp; plus</p>
    <ul><li>un</li><li>deux</li></ul><table><tr><td>1</td><td>2</td></tr></table></body></html>"""
    assert text_of_html(page).split("\n") == [
        "Lettre", "", "Bonjour vous,", "deux lignes & plus", "", "un", "deux", "", "1 2",
    ]  # fmt: skip


def test_no_page_is_too_odd() -> None:
    assert text_of_html("") == ""
    assert text_of_html("<!-- -->") == ""
    assert text_of_html("\x00<p>a\x00b") == "ab"
    assert text_of_html("plain < text").split() == ["plain", "<", "text"]
    page = "<head><title>a</title></head><script>steal()</script>" + "<div>" * 50_000 + "deep &eacute;"
    assert text_of_html(page).split()[-2:] == ["deep", "é"]
    assert "steal" not in text_of_html(page)


@given(st.text(alphabet="<>/!-&;'\" \nabpé\x0b\ufffe", max_size=200))
def test_nothing_fails(page: str) -> None:
    text_of_html(page)
