"""The parts of a mail (RFC 2045, 2046), found by looking for boundaries, each level once."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from mail_service.reading.charsets import decode, one_line
from mail_service.reading.headers import (
    Headers,
    decode_words,
    first,
    from_base64,
    parse_head,
    split_head,
)

MOST_PARTS = 200
DEEPEST = 12
"""Multiparts in multiparts."""
LONGEST_PARAMETERS = 4_000
"""Characters of a Content-Type."""
LONGEST_FILE_NAME = 200

_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}")
_PARAMETER = re.compile(
    r";\s*([^\s=;*]{1,60})(\*\d{0,3}\*?)?\s*=\s*(?:\"((?:[^\"\\]|\\.){0,2000})\"?|([^;]{0,2000}))"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part; a multipart has parts, and nothing else has."""

    headers: Headers
    content_type: str
    """Lower case, ``type/subtype``."""
    parameters: dict[str, str]
    """Of the Content-Type, and ``filename`` of the Content-Disposition; names in lower case."""
    disposition: str
    body: bytes
    """As it was sent; of a multipart: nothing."""
    parts: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """What the sender called it; may be empty."""
        return self.parameters.get("filename") or self.parameters.get("name", "")

    @property
    def charset(self) -> str | None:
        return self.parameters.get("charset")

    def content(self, most: int | None = None) -> bytes:
        """Without its transfer encoding; ``most``: how many bytes of it are wanted."""
        encoding = first(self.headers, "content-transfer-encoding").lower().partition(";")[0].strip(" '\"")
        # Either encoding makes three or more bytes of one, never fewer.
        body = self.body if most is None else self.body[: 4 * most]
        if encoding == "base64":
            return from_base64(body)[:most]
        if encoding == "quoted-printable":
            return binascii.a2b_qp(body)[:most]
        return body[:most]

    def text(self, most: int) -> str:
        """As text, at most so many bytes of it."""
        return decode(self.content(most), self.charset)


@dataclass(slots=True)
class Walk:
    """What is left of the bounds, and whether they were met."""

    parts_left: int = MOST_PARTS
    cut: bool = False
    broken: bool = field(default=False)


def parse(raw: bytes, walk: Walk) -> Part:
    """The mail as a tree."""
    head, body = split_head(raw)
    headers, whole = parse_head(head)
    walk.broken |= not whole
    return _part(headers, body, "text/plain", walk, DEEPEST)


def _part(headers: Headers, body: bytes, default: str, walk: Walk, depth: int) -> Part:
    value = first(headers, "content-type")[:LONGEST_PARAMETERS]
    match = _TYPE.match(value.strip())
    content_type = match[0].lower() if match else default
    disposition = first(headers, "content-disposition")[:LONGEST_PARAMETERS]
    parameters = parse_parameters(disposition) | {
        key: text for key, text in parse_parameters(value).items() if key != "filename"
    }
    kind = disposition.partition(";")[0].strip().lower()
    boundary = parameters.get("boundary", "")
    if content_type.startswith("multipart/") and boundary and depth:
        bodies = _split(body, boundary.encode("utf-8", "replace"))
        if bodies:
            inner = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
            parts = tuple(_children(bodies, inner, walk, depth - 1))
            return Part(headers, content_type, parameters, kind, b"", parts)
    if content_type.startswith("multipart/"):
        walk.broken = True
        content_type = "text/plain"
    return Part(headers, content_type, parameters, kind, body)


def _children(bodies: Sequence[bytes], default: str, walk: Walk, depth: int) -> Iterator[Part]:
    for body in bodies:
        if not walk.parts_left:
            walk.cut = True
            return
        walk.parts_left -= 1
        head, content = split_head(body)
        headers, whole = parse_head(head)
        if not whole and not headers:
            # No head at all, and no empty line before the text either.
            headers, content = (), body
        yield _part(headers, content, default, walk, depth)


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the lines that are boundaries; where the last is missing, to the end."""
    mark = b"--" + boundary
    bodies: list[bytes] = []
    start: int | None = None
    position = body.find(mark)
    while position >= 0 and len(bodies) <= MOST_PARTS:
        line_end = body.find(b"\n", position)
        line_end = len(body) if line_end < 0 else line_end
        # A line that only begins like a boundary is none; a very long one is looked at no further.
        rest = body[position + len(mark) : min(line_end, position + len(mark) + 200)].strip()
        if (position == 0 or body[position - 1] in b"\r\n") and rest in {b"", b"--"}:
            if start is not None:
                bodies.append(body[start:position].removesuffix(b"\n").removesuffix(b"\r"))
            if rest:
                return bodies
            start = line_end + 1
        position = body.find(mark, max(position + len(mark), min(line_end, len(body))))
    if start is not None:
        bodies.append(body[start:])
    return bodies


def parse_parameters(value: str) -> dict[str, str]:
    """Of a structured header, as RFC 2231 and those who never read it write them."""
    pieces: dict[str, list[tuple[str, str]]] = {}
    for match in _PARAMETER.finditer(value):
        text = re.sub(r"\\(.)", r"\1", match[3]) if match[3] is not None else match[4].strip()
        pieces.setdefault(match[1].lower(), []).append((match[2] or "", text))
    return {name: _joined(found) for name, found in pieces.items()}


def _joined(pieces: Sequence[tuple[str, str]]) -> str:
    plain = next((text for star, text in pieces if not star), None)
    extended = sorted(
        ((int(star.strip("*") or 0), star.endswith("*"), text) for star, text in pieces if star),
        key=lambda piece: piece[0],
    )
    if not extended:
        return decode_words(plain or "", LONGEST_PARAMETERS)
    charset: str | None = None
    content = b""
    for index, (_, is_encoded, text) in enumerate(extended):
        rest = text
        if is_encoded and index == 0 and text.count("'") >= 2:
            charset, _, rest = text.split("'", 2)
        content += unquote_to_bytes(rest) if is_encoded else rest.encode()
    return one_line(decode(content, charset), LONGEST_PARAMETERS)
