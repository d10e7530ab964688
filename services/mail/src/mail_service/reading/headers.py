"""The head of a mail or of a part (RFC 5322, 2.2), and words in it that are not ASCII (RFC 2047).

The standard library's parsers raise on hostile headers, or need quadratic time; these do neither.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

from mail_service.reading.charsets import decode, one_line

MOST_BYTES = 256 * 1024
"""Of a head that is looked at."""
MOST_HEADERS = 500
LONGEST_VALUE = 20_000
"""Characters."""

Headers = tuple[tuple[str, str], ...]

_NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_WORD = re.compile(r"=\?([^?\s]{1,64})\?([bBqQ])\?([^?]{0,10000})\?=")
_BLANK = re.compile(rb"\r?\n[ \t]*(?:\r?\n|\Z)|\r\r")


def split_head(content: bytes) -> tuple[bytes, bytes]:
    """The head, and the body after the empty line; no body where there is no empty line."""
    if content.startswith((b"\n", b"\r\n")):
        return b"", content[content.index(b"\n") + 1 :]
    end = _BLANK.search(content, 0, MOST_BYTES)
    if end is None:
        return content[:MOST_BYTES], content[MOST_BYTES:]
    return content[: end.start()], content[end.end() :]


def parse_head(head: bytes) -> tuple[Headers, bool]:
    """The headers in order, names in lower case, values unfolded and without control characters; and whether
    every line was one."""
    found: list[tuple[str, list[bytes]]] = []
    whole = True
    for line in head.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[: 20 * MOST_HEADERS]:
        if line[:1] in {b" ", b"\t"} and found:
            found[-1][1].append(line)
        elif match := _NAME.match(line):
            if len(found) == MOST_HEADERS:
                return _values(found), False
            found.append((match[1].decode("ascii").lower(), [line[match.end() :]]))
        elif line and not line.startswith((b"From ", b">From ")):
            whole = False
    return _values(found), whole


def _values(found: Iterable[tuple[str, list[bytes]]]) -> Headers:
    return tuple(
        (name, one_line(decode(b" ".join(lines)[: 4 * LONGEST_VALUE], None), LONGEST_VALUE))
        for name, lines in found
    )


def every(headers: Headers, name: str) -> list[str]:
    """The values of all headers of that name, topmost first."""
    return [value for key, value in headers if key == name]


def first(headers: Headers, name: str) -> str:
    """The topmost value, or nothing."""
    return next((value for key, value in headers if key == name), "")


def decode_words(value: str, longest: int = 2_000) -> str:
    """What stands in encoded words made readable, on one line."""
    pieces: list[str] = []
    pending: list[tuple[str, bytes]] = []
    position = 0
    for match in _WORD.finditer(value):
        between = value[position : match.start()]
        # White space between two encoded words does not count (RFC 2047, 6.2).
        if not (pending and between.isspace()) and between:
            pieces += [_joined(pending), between]
            pending = []
        pending.append((match[1].split("*")[0], _word_bytes(match[2], match[3])))
        position = match.end()
    return one_line("".join([*pieces, _joined(pending), value[position:]]), longest)


def _joined(words: Sequence[tuple[str, bytes]]) -> str:
    """Many mailers cut in the middle of a character: what follows in the same charset belongs together."""
    text: list[str] = []
    index = 0
    while index < len(words):
        charset = words[index][0]
        content = b""
        while index < len(words) and words[index][0].lower() == charset.lower():
            content += words[index][1]
            index += 1
        text.append(decode(content, charset))
    return "".join(text)


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if encoding in "bB":
        return from_base64(raw)
    return binascii.a2b_qp(raw.replace(b"_", b" "), header=False)


def from_base64(content: bytes) -> bytes:
    """What can be had of it, where something is broken or missing."""
    try:
        return base64.b64decode(content)
    except (binascii.Error, ValueError):
        letters = re.sub(rb"[^A-Za-z0-9+/]", b"", content)
        # One letter alone is six bits: no byte.
        letters = letters[: len(letters) - (len(letters) % 4 == 1)]
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
