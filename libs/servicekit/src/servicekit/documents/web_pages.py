"""From HTML to the text that a reader would see."""

from __future__ import annotations

from html.parser import HTMLParser

import html_text
import lxml.html
from lxml.etree import ErrorLevels, LxmlError

_NOT_SHOWN = {"script", "style", "head"}


def text_of_html(source: str) -> str:
    """Paragraphs, items and rows on lines of their own; no scripts, styles or markup.

    Never fails, but takes a while: some 50 ms for each 100 kB. Whoever serves others meanwhile calls it in a
    thread, or lets an :class:`servicekit.documents.port.Extractor` do it.
    """
    body = source.replace("\x00", "").encode("utf-8", "replace").strip()
    # Without ``huge_tree``, all that is nested deeper than 256 elements would be left out.
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        tree = lxml.html.document_fromstring(body or b"<html/>", parser=parser)
        text: str = html_text.extract_text(tree)
    except (LxmlError, ValueError, RecursionError):
        return _words(source)
    left_out = any(entry.level >= ErrorLevels.FATAL for entry in parser.error_log)
    return _words(source) if left_out else text.strip()


def _words(source: str) -> str:
    """All that is no markup, in one line."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    return " ".join(" ".join(reader.texts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _NOT_SHOWN and not self._hidden:
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(data)
