"""Addresses in headers (RFC 5322, 3.4), read so that no comment, quote or group can make one look like
another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mail_service.letters import Address
from mail_service.reading.charsets import one_line
from mail_service.reading.headers import decode_words

MOST_CHARACTERS = 16_000
MOST_ADDRESSES = 200
LONGEST_NAME = 200
LONGEST_ADDRESS = 254
"""Characters (RFC 5321, 4.5.3.1)."""

_LOCAL = re.compile(r"[^\s@<>()\[\]\\,:;\"\x00-\x20\x7f]{1,64}\Z")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)


def addresses(value: str) -> tuple[Address, ...]:
    """All that can be written to; what is no address is left out."""
    found = (_address(*mailbox) for mailbox in _mailboxes(value[:MOST_CHARACTERS]))
    return tuple(address for address in found if address is not None)[:MOST_ADDRESSES]


def only_address(value: str) -> Address | None:
    """The address if there is exactly one mailbox and it can be written to."""
    mailboxes = list(_mailboxes(value[:MOST_CHARACTERS]))
    return _address(*mailboxes[0]) if len(mailboxes) == 1 and len(value) <= MOST_CHARACTERS else None


def normal(address: str) -> str | None:
    """``local@domain`` in lower case, the domain in ASCII; None: nothing that can be written to."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not _LOCAL.match(local) or len(address) > LONGEST_ADDRESS:
        return None
    domain = domain.strip().rstrip(".").lower()
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except (UnicodeError, ValueError):
            return None
    return f"{local.lower()}@{domain}" if _DOMAIN.match(domain) else None


def _address(name: str, address: str) -> Address | None:
    found = normal(address)
    return None if found is None else Address(found, one_line(decode_words(name), LONGEST_NAME))


def _mailboxes(value: str) -> Iterator[tuple[str, str]]:
    """Name and address of each, not yet judged."""
    name, bare, angle = "", "", None
    for kind, text in _tokens(value):
        if kind == "angle":
            # Two in one mailbox: which of them is meant nobody can say.
            angle = text if angle is None else f"{angle} {text}"
        elif kind == "quoted":
            name, bare = name + text, bare + '"'
        elif kind == "text":
            name, bare = name + text, bare + text
        elif kind == "group":
            name, bare, angle = "", "", None
        else:
            if name.strip() or angle is not None:
                yield (name.strip(), angle) if angle is not None else ("", bare.strip())
            name, bare, angle = "", "", None


def _tokens(value: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(value):
        character = value[position]
        if character == '"':
            text, position = _quoted(value, position + 1)
            yield "quoted", text
        elif character == "(":
            position = _after_comment(value, position)
        elif character == "<":
            end = value.find(">", position)
            end = len(value) if end < 0 else end
            yield "angle", value[position + 1 : end]
            position = end + 1
        elif character in ",;":
            yield "end", ""
            position += 1
        elif character == ":":
            yield "group", ""
            position += 1
        else:
            yield "text", character
            position += 1
    yield "end", ""


def _quoted(value: str, position: int) -> tuple[str, int]:
    text: list[str] = []
    while position < len(value) and value[position] != '"':
        if value[position] == "\\":
            position += 1
        text.append(value[position : position + 1])
        position += 1
    return "".join(text), position + 1


def _after_comment(value: str, position: int) -> int:
    depth = 0
    while position < len(value):
        character = value[position]
        depth += (character == "(") - (character == ")")
        position += 2 if character == "\\" else 1
        if depth == 0:
            break
    return position
