"""HTML to the text that a reader sees: no scripts, no styles, nothing hidden, nothing fetched."""

from __future__ import annotations

import re

from mail_service.reading.markup import Tag, tokens

LONGEST = 1_000_000
"""Characters of HTML that are looked at."""
LONGEST_TEXT = 300_000
"""Characters of text after which no more is looked at."""
DEEPEST = 500
"""Elements in elements whose end is waited for."""

_BLOCKS = frozenset(
    {"address", "article", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset", "footer"}
    | {"form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "li", "ol", "p", "pre", "section", "table", "tr"}
    | {"ul"}
)
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_CLOSED_BY_THEIR_LIKE = frozenset({"p", "li", "tr", "td", "th", "dd", "dt", "option"})
_HIDING = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|mso-hide\s{0,9}:\s{0,9}all"
    r"|(?:font-size|opacity|max-height|max-width)\s{0,9}:\s{0,9}0(?![.\d]{0,9}[1-9])"
)
_SPACES = re.compile(r"[ \t\n\u00a0]+")
_LINK = re.compile(r"https?://", re.IGNORECASE)


def to_text(html: str) -> tuple[str, int]:
    """The text, quotations with ``>`` before each line, and the number of links to web pages."""
    page = _Page()
    for token in tokens(html[:LONGEST]):
        if isinstance(token, str):
            page.write(token)
        elif token.is_end:
            page.end(token.name)
        else:
            page.begin(token)
        if page.length > LONGEST_TEXT:
            break
    return page.text(), page.links


class _Page:
    def __init__(self) -> None:
        self.links = 0
        self.length = 0
        """Characters so far."""
        self._lines: list[str] = []
        self._line: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """Open elements, and whether each is hidden, by itself or by one around it."""
        self._quotes = 0
        self._preformatted = 0

    def text(self) -> str:
        """All that was shown."""
        self._end_line()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n")

    def begin(self, tag: Tag) -> None:
        """An element opens."""
        if tag.name in _CLOSED_BY_THEIR_LIKE and self._open and self._open[-1][0] == tag.name:
            self.end(tag.name)
        style = tag.attributes.get("style", "").lower()
        hidden = self._hidden or "hidden" in tag.attributes or bool(_HIDING.search(style))
        if tag.name not in _VOID and len(self._open) < DEEPEST:
            self._open.append((tag.name, hidden))
            self._quotes += tag.name == "blockquote"
            self._preformatted += tag.name == "pre"
        if not hidden:
            self._show_begin(tag)

    def _show_begin(self, tag: Tag) -> None:
        if tag.name == "a" and _LINK.match(tag.attributes.get("href", "").strip()):
            self.links += 1
        if tag.name == "br":
            self._end_line(keep_empty=True)
        elif tag.name in {"td", "th"}:
            self._line.append(" ")
        elif tag.name == "hr" or tag.name in _BLOCKS:
            self._end_line()
            if tag.name == "li":
                self._line.append("- ")
            elif tag.name == "p" and self._lines and self._lines[-1].strip("> "):
                self._empty_line()

    def end(self, name: str) -> None:
        """An element closes, and what was left open in it; nothing, where none of that name is open."""
        if name not in {tag for tag, _ in self._open[-50:]}:
            return
        while self._open:
            tag, hidden = self._open.pop()
            if not hidden and tag in _BLOCKS:
                self._end_line()
                if tag == "p":
                    self._empty_line()
            self._quotes -= tag == "blockquote"
            self._preformatted -= tag == "pre"
            if tag == name:
                return

    def write(self, text: str) -> None:
        """Text, where it is shown."""
        if self._hidden:
            return
        if not self._preformatted:
            self._line.append(_SPACES.sub(" ", text))
            return
        first, *others = text.split("\n")
        self._line.append(first)
        for line in others:
            self._end_line(keep_empty=True)
            self._line.append(line)

    @property
    def _hidden(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _end_line(self, *, keep_empty: bool = False) -> None:
        line = "".join(self._line)
        line = line.rstrip() if self._preformatted else _SPACES.sub(" ", line).strip()
        self._line = []
        if line or keep_empty:
            self._add(line)

    def _empty_line(self) -> None:
        self._add("")

    def _add(self, line: str) -> None:
        self._lines.append(self._marks + line)
        self.length += len(self._lines[-1]) + 1

    @property
    def _marks(self) -> str:
        return "> " * min(self._quotes, 20)
