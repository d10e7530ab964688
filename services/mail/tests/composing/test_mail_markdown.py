"""Whatever a model writes is shown as text, and nothing of it runs, loads or is lost."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_service.composing.brand import Colours
from mail_service.composing.markdown import to_html, to_text

ALLOWED = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pixel](https://evil.example/p.png)",
    '<iframe src="https://evil.example"></iframe>',
    "<form action=https://evil.example><input name=password></form>",
    "[click](javascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    '<a href="https://x" onclick="x()">a</a>',
    "<style>body{display:none}</style>",
    '<div style="background:url(https://evil.example)">x</div>',
    "<svg/onload=alert(1)>",
    "<!--[if mso]><x/><![endif]-->",
    "[a]: https://evil.example\n\n[a]",
    "</td></tr></table><h1>Faux</h1>",
    "&lt;script&gt;",
)


class Found(HTMLParser):
    """What a mail program would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def check_safe(html: str) -> Found:
    found = Found(html)
    for tag, attributes in found.tags:
        assert tag in ALLOWED
        assert attributes.keys() <= {"href", "rel", "style", "start"}
        assert "url(" not in (attributes.get("style") or "")
        href = attributes.get("href")
        assert href is None or href.split(":")[0].lower() in {"http", "https", "mailto"}
    return found


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_hostile_is_shown_and_does_nothing(hostile: str) -> None:
    found = check_safe(to_html(f"Avant.\n\n{hostile}\n\nAprès.", Colours()))
    assert "Avant." in found.text
    assert "Après." in found.text


PIECES = st.sampled_from(
    [
        *HOSTILE,
        "**gras**",
        "# Titre",
        "- un\n- deux",
        "| a | b |\n|---|---|\n| c | d |",
        "```\ncode\n```",
        "\n\n",
        "`x",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=8))
def test_no_mixture_is_dangerous_and_none_raises(pieces: list[str]) -> None:
    markdown = "".join(pieces)
    check_safe(to_html(markdown, Colours()))
    to_text(markdown)


WORDS = st.text("abcdefghijklmnopqrstuvwxyzéàç0123456789", min_size=1, max_size=12)


@given(
    st.lists(WORDS, min_size=1, max_size=30),
    st.sampled_from(["{}", "**{}**", "- {}", "> {}", "<{}>", "`{}`"]),
)
def test_no_word_is_lost(words: list[str], form: str) -> None:
    markdown = "\n\n".join(form.format(word) for word in words)
    for shown in (check_safe(to_html(markdown, Colours())).text, to_text(markdown)):
        assert [word for word in words if word not in re.sub(r"\s+", " ", shown)] == []


def test_markdown_is_readable_without_html() -> None:
    markdown = (
        "## Titre\n\nUn **mot**, un [lien](https://x.org/a).\n\n3. un\n4. deux\n   - a\n\n> dit\n\n---\n\n"
        "| a | b |\n|---|---|\n| c | d |"
    )
    assert to_text(markdown) == (
        "Titre\n\nUn mot, un lien <https://x.org/a>.\n\n3. un\n4. deux\n   - a\n\n| dit\n\n----\n\n"
        "a | b\nc | d"
    )


def test_links_say_where_they_lead_and_carry_nothing_of_the_mail() -> None:
    found = check_safe(to_html("[texte](https://x.org)", Colours()))
    (link,) = [attributes for tag, attributes in found.tags if tag == "a"]
    assert link["href"] == "https://x.org"
    assert link["rel"] == "noopener noreferrer"
