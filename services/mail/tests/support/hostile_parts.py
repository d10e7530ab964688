"""What hostile mails are made of: ``WRITER`` and ``NUMBER`` stand for what each has of its own."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Callable

US = "neo@example.test"
"""The mailbox; ``Hostile.raw`` puts another in its place."""
QUESTION = "Bonjour, combien de jours de congés payés ai-je en CDI ?"
ANSWERED, IGNORED, DEAD = "answered", "ignored", "dead"
MANY = 5_000
LONG_LINE = 100_000_000
"""Bytes."""

Made = bytes | Callable[[], bytes]
Row = tuple[str, str, Made]
"""Name, the state in which it must end, and the bytes or what makes them."""


def a_mail(*headers: str | bytes, body: str | bytes = QUESTION, without: str = "") -> bytes:
    """With the usual headers, but for those given or named in ``without``."""
    lines = [line.encode() if isinstance(line, str) else line for line in headers]
    usual = {
        "From": "Anne <WRITER>",
        "To": US,
        "Subject": "Question sur mes congés",
        "Date": "Sat, 21 Nov 2026 20:00:00 +0100",
        "Message-ID": "<hostile-NUMBER@people.test>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
    }
    given = {line.partition(b":")[0].strip().lower() for line in lines} | set(
        without.encode().lower().split()
    )
    lines = [
        f"{key}: {value}".encode() for key, value in usual.items() if key.lower().encode() not in given
    ] + lines
    return b"\r\n".join([*lines, b"", body.encode() if isinstance(body, str) else body, b""])


def a_part(content_type: str, body: str | bytes, *headers: str) -> bytes:
    """One part of a multipart."""
    lines = "\r\n".join((f"Content-Type: {content_type}", *headers, "", ""))
    return lines.encode() + (body.encode() if isinstance(body, str) else body)


def a_multipart(
    *parts: bytes, kind: str = "mixed", more: str = "", end: bool = True, headers: tuple[str, ...] = ()
) -> bytes:
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + (
        b"--frontier--\r\n" if end else b""
    )
    return a_mail(f'Content-Type: multipart/{kind}; boundary="frontier"{more}', *headers, body=body)


TEXT_PART = a_part("text/plain; charset=utf-8", QUESTION)


def a_file(content: bytes, name: str, content_type: str = "application/octet-stream") -> bytes:
    return a_part(
        content_type,
        base64.encodebytes(content),
        f'Content-Disposition: attachment; filename="{name}"',
        "Content-Transfer-Encoding: base64",
    )


def a_picture(width: int, height: int) -> bytes:
    """A PNG that claims to be so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack("!L", len(content)) + kind + content + struct.pack("!L", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack("!LLBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 9_000)) + chunk(b"IEND", b"")


def noise(size: int) -> bytes:
    """Bytes without any order, the same each time."""
    return hashlib.shake_256(b"noise").digest(size)
