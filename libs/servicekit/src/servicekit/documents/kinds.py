"""What kind of document it is, by its bytes. A pure decision.

Names and declared types are what the sender says. They only choose between kinds of text, which look alike,
and betray files that are not what they pretend to be.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from servicekit.documents.port import DocumentRefused, Kind, Refusal

_SIGNATURES = (
    (b"PK\x03\x04", Kind.DOCX),
    (b"\x89PNG\r\n\x1a\n", Kind.IMAGE),
    (b"\xff\xd8\xff", Kind.IMAGE),
    (b"GIF87a", Kind.IMAGE),
    (b"GIF89a", Kind.IMAGE),
    (b"II*\x00", Kind.IMAGE),
    (b"MM\x00*", Kind.IMAGE),
)
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Of Word 97 and its kin: [MS-CFB] 2.2."""
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
"""The stream of a DOCX with a password: [MS-OFFCRYPTO] 2.3.4.4."""
_WORD_HEADER = b"\xec\xa5"
_SECTOR = 512
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_SAMPLE = 65_536
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
_PROMISES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".doc": "application/msword",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
}
"""Names and types of files that are never plain text."""
_WEB_PAGES = {".html", ".htm", ".xhtml"}
_HEAD = 4_096
# Comments are never looked into again: a thousand of them could be divided in too many ways.
_LOOKS_LIKE_HTML = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)


def kind_of(data: bytes, name: str = "", content_type: str = "") -> Kind:
    """The kind of a document. Raises DocumentRefused: EMPTY, ENCRYPTED, UNSUPPORTED or UNREADABLE."""
    if not data.strip():
        raise DocumentRefused(Refusal.EMPTY)
    if (kind := _by_signature(data)) is not None:
        return kind
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    declared = content_type.partition(";")[0].strip().lower()
    pretends = suffix in _PROMISES or declared in _PROMISES.values()
    if not _is_text(data):
        raise DocumentRefused(Refusal.UNREADABLE if pretends else Refusal.UNSUPPORTED)
    if data.startswith(b"{\\rtf"):
        raise DocumentRefused(Refusal.UNSUPPORTED)
    # Word saves web pages under the name of a DOC, and nobody notices.
    if _LOOKS_LIKE_HTML.match(data[:_HEAD].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")):
        return Kind.HTML
    if pretends:
        raise DocumentRefused(Refusal.UNREADABLE)
    return Kind.HTML if suffix in _WEB_PAGES or declared == "text/html" else Kind.TEXT


def _by_signature(data: bytes) -> Kind | None:
    # Readers take a PDF whose header stands somewhere in the first 1,024 bytes; mail gateways add lines.
    if b"%PDF-" in data[:1024]:
        return Kind.PDF
    if data.startswith(_COMPOUND_FILE):
        return _compound_file(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Kind.IMAGE
    # A text may begin with these two letters; the header of a bitmap has zeros where its size ends.
    if data[:2] == b"BM" and data[6:10] == b"\x00\x00\x00\x00":
        return Kind.IMAGE
    return next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)


def _compound_file(data: bytes) -> Kind:
    if _ENCRYPTED_PACKAGE in data or _is_locked(data):
        raise DocumentRefused(Refusal.ENCRYPTED)
    return Kind.DOC


def _is_locked(data: bytes) -> bool:
    """Whether a DOC has a password: bit 8 of the flags at offset 10 of its header ([MS-DOC] 2.5.2), which
    begins some sector."""
    for place in range(_SECTOR, len(data) - 12, _SECTOR):
        if data.startswith(_WORD_HEADER, place):
            return bool(data[place + 11] & 1)
    return False


def _is_text(data: bytes) -> bool:
    """Whether it may be text in some charset: hardly a control character, UTF-16 apart."""
    if data.startswith(_BYTE_ORDER_MARKS):
        return True
    sample = data[:_SAMPLE]
    if looks_like_utf_16(sample):
        return True
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return controls * 100 <= len(sample)


def looks_like_utf_16(sample: bytes) -> str | None:
    """The charset, where most characters have a zero in the same place: Western text without a mark."""
    half = len(sample) // 2
    for charset, zeros, letters in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        if half and zeros.count(0) * 10 >= half * 7 and letters.count(0) * 20 <= half:
            return charset
    return None
