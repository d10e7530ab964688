"""Bytes to text, whatever charset they claim to be in."""

from __future__ import annotations

import codecs
import re
import unicodedata

_ALIASES = {
    # Mail says Latin-1 and means what Windows makes of it (the WHATWG encoding standard does the same).
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "ansi": "cp1252",
    "ansi_x3.110-1983": "cp1252",
    # Supersets that hold the odd bytes which their subsets refuse.
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "ks_c_5601": "cp949",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "x-windows-949": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "big5": "big5hkscs",
    "iso-8859-6-i": "iso8859_6",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "windows-31j": "cp932",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-ce": "mac_latin2",
    "x-mac-cyrillic": "mac_cyrillic",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
}
_REFUSED = frozenset(
    {"utf-7", "unicode-escape", "raw-unicode-escape", "punycode", "idna", "undefined", "mbcs"}
)
"""Python's own, and UTF-7, by which markup is hidden from who looks for it."""
_GUESSED = "cp1252"
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WINDOWS_NAME = re.compile(r"(?:x-)?(?:windows|cp|win|ibm)[-_]?(\d{3,4})\Z")
_UNSEEN = re.compile(
    # Controls but tab and line feed; what has no width; what turns the direction of text; the tag characters,
    # in which whole sentences can be hidden.
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e0fff\ud800-\udfff\ufffe\uffff]"
)
_LINE_ENDS = re.compile("\r\n?|[\x0c\x85\u2028\u2029]")


def decode(content: bytes, charset: str | None) -> str:
    """The text, clean: line feeds only, nothing that is not to be seen.

    The claimed charset is tried first, unless the bytes are UTF-8 that claims to be Latin-1. No byte is
    dropped: one that fits nowhere becomes U+FFFD.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return clean(content[len(bom) :].decode(encoding, "replace"))
    name = _encoding(charset)
    if name in {None, "cp1252", "utf-8"}:
        return clean(_western(content))
    try:
        return clean(content.decode(str(name)))
    except UnicodeError:
        pass
    except (ValueError, LookupError):
        name = _GUESSED
    if _is_utf8(content):
        return clean(content.decode())
    return clean(content.decode(str(name), "replace"))


def clean(text: str) -> str:
    """Line feeds only, composed characters, nothing that is not to be seen."""
    return unicodedata.normalize("NFC", _UNSEEN.sub("", _LINE_ENDS.sub("\n", text)))


def one_line(text: str, longest: int) -> str:
    """For headers and names: no line breaks, single spaces, cut to ``longest`` characters."""
    return " ".join(clean(text).split())[:longest]


def _encoding(charset: str | None) -> str | None:
    """A codec of Python's for text; None: unknown, to be guessed."""
    name = (charset or "").strip().strip("'\"").lower()[:64]
    name = _ALIASES.get(name, name)
    if match := _WINDOWS_NAME.match(name):
        name = f"cp{match[1]}"
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return None
    is_text = getattr(info, "_is_text_encoding", True)
    return None if not is_text or info.name in _REFUSED else info.name


def _western(content: bytes) -> str:
    if _is_utf8(content):
        return content.decode()
    guess = content.decode("utf-8", "replace")
    wrong = guess.count("\ufffd")
    # A broken character or two in UTF-8 are another thing than Latin-1, where every accent is one.
    wide = sum(1 for byte in content if byte >= 0xC2) - wrong
    return guess if wide > 2 * wrong else content.decode(_GUESSED, "replace")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
