"""From bytes to text, whatever the charset is said to be. Pure; never fails."""

from __future__ import annotations

import codecs

from servicekit.documents.kinds import looks_like_utf_16

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
"""Python's codecs of text that no document is written in."""
# What Western Windows programs write: a superset of the part of Latin-1 that can be printed.
_STRAY_BYTES = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(128, 256)}


def decoded(data: bytes, charset: str | None = None) -> str:
    """The text, with ``\\n`` at the ends of lines and without NUL characters.

    Args:
        charset: what the sender says. A mark at the beginning and valid UTF-8 are believed first.
    """
    return clean(_decoded(data, charset))


def clean(text: str) -> str:
    """Lines end in ``\\n``; no NUL, and nothing that UTF-8 cannot hold."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.encode("utf-8", "replace").decode()


def _decoded(data: bytes, charset: str | None) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    for name in filter(None, ("utf-8", looks_like_utf_16(data[:4096]), _known(charset))):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    return _broken(data)


def _known(charset: str | None) -> str | None:
    """Its name in Python, if it is a charset."""
    try:
        name = codecs.lookup((charset or "").strip("\"' ")).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    return None if name in _NO_CHARSETS else name


def _broken(data: bytes) -> str:
    """UTF-8, and what is none as Windows would have written it: either, or both in one file."""
    return data.decode("utf-8", "surrogateescape").translate(_STRAY_BYTES)
