"""HTML as a stream of tags and texts, in one pass over it.

No tree is built: parsers that follow the HTML standard need quadratic time for deep nesting, and what comes
out of here is only ever shown as text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_TAG = 8_000
"""Characters of a tag that are looked at."""
MOST_ATTRIBUTES = 50

_NAME = re.compile(r"[A-Za-z][^\s/>]{0,40}")
_ATTRIBUTE = re.compile(r"[\s/]*([^\s=>/\"']{1,60})(\s{0,20}=\s{0,20})?")
_UNQUOTED = re.compile(r"[^\s>]{1,2000}")
_RAW = frozenset(
    {"script", "style", "title", "textarea", "template", "svg", "object", "iframe", "math", "xml"}
)
"""What is not shown, up to its end tag, whatever stands in it."""


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    """Lower case."""
    attributes: dict[str, str]
    is_end: bool = False


def tokens(document: str) -> Iterator[Tag | str]:
    """Tags, and texts with their character references resolved."""
    position = 0
    while position < len(document):
        start = document.find("<", position)
        if start < 0:
            yield unescape(document[position:])
            return
        if start > position:
            yield unescape(document[position:start])
        follows = document[start + 1 : start + 2]
        if follows in {"!", "?"}:
            position = _after_comment(document, start)
        elif match := _NAME.match(document, start + 2 if follows == "/" else start + 1):
            name = match[0].lower()
            if follows == "/":
                position = _after(document, ">", match.end())
                yield Tag(name, {}, is_end=True)
            else:
                attributes, position = _attributes(document, match.end())
                yield Tag(name, attributes)
                if name in _RAW:
                    position = _after_raw(document, name, position)
        else:
            yield "<"
            position = start + 1


def unescape(text: str) -> str:
    """With character references resolved."""
    try:
        return html.unescape(text)
    except ValueError:
        # A number with more digits than Python reads.
        return text


def _after_comment(document: str, start: int) -> int:
    if document.startswith("<!--", start):
        return _after(document, "-->", start + 4)
    return _after(document, ">", start)


def _after(document: str, mark: str, position: int) -> int:
    found = document.find(mark, position)
    return len(document) if found < 0 else found + len(mark)


def _after_raw(document: str, name: str, position: int) -> int:
    """Before its end tag; where there is none, nothing more is shown, as browsers do."""
    end = re.compile(f"</{re.escape(name)}", re.IGNORECASE).search(document, position)
    return len(document) if end is None else end.start()


def _attributes(document: str, position: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    end = min(len(document), position + LONGEST_TAG)
    while len(found) < MOST_ATTRIBUTES:
        match = _ATTRIBUTE.match(document, position, end)
        if match is None:
            break
        position, value = match.end(), ""
        if match[2]:
            value, position = _value(document, position, end)
        found.setdefault(match[1].lower(), unescape(value))
    return found, _after(document, ">", position)


def _value(document: str, position: int, end: int) -> tuple[str, int]:
    quote = document[position : position + 1]
    if quote in {'"', "'"}:
        closing = document.find(quote, position + 1, end)
        if closing >= 0:
            return document[position + 1 : closing], closing + 1
    match = _UNQUOTED.match(document, position, end)
    return (match[0], match.end()) if match else ("", position)
