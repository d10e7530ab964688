"""Documents for tests, good ones and hostile ones, made byte by byte from their formats' descriptions."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import docx
from pypdf import PdfReader, PdfWriter

LETTER_PNG = Path(__file__).parents[1] / "documents/samples/letter.png"
"""A picture of the next text."""
LETTER = "Madame, Monsieur, votre préavis commence le 3 mars. Please keep this letter."


def pdf(*pages: str, **streams: bytes) -> bytes:
    """A PDF with one line of text per page (ISO 32000-1, 7.5). ``streams`` replaces the content of the page
    with that number (``page0=…``) by a whole stream object."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, text in enumerate(pages):
        page = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects += [page.encode(), streams.get(f"page{number}", _text_stream(text))]
    return _file(objects)


def _text_stream(text: str) -> bytes:
    escaped = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return stream(b"BT /F1 12 Tf 72 720 Td (" + escaped + b") Tj ET")


def stream(content: bytes, entries: str = "") -> bytes:
    """A stream object."""
    return f"<< /Length {len(content)} {entries} >>\nstream\n".encode() + content + b"\nendstream"


def _file(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    xref = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n".encode()
    return bytes(out)


def many_pages(count: int) -> bytes:
    """A PDF of that many pages, all alike."""
    kids = " ".join(f"{4 + number} 0 R" for number in range(count))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 3 0 R >>"
    return _file(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
            stream(b"BT (x) Tj ET"),
            *[page] * count,
        ]
    )


def pdf_bomb(unpacked: int = 100_000_000) -> bytes:
    """A small PDF whose only page unpacks, twice over, to so many bytes."""
    packer = zlib.compressobj(9)
    chunk = bytes(1_000_000)
    once = b"".join(packer.compress(chunk) for _ in range(unpacked // len(chunk))) + packer.flush()
    return pdf("", page0=stream(zlib.compress(once, 9), "/Filter [/FlateDecode /FlateDecode]"))


def deep_pdf(depth: int = 100_000) -> bytes:
    """A PDF whose list of pages is nested beyond any stack."""
    return _file([b"<< /Type /Catalog /Pages 2 0 R >>", b"[" * depth + b"]" * depth])


def slow_pdf(operators: int = 2_000_000) -> bytes:
    """A small PDF whose only page takes minutes to read."""
    content = zlib.compress(b"BT (a) Tj ET " * operators, 9)
    return pdf("", page0=stream(content, "/Filter /FlateDecode"))


def encrypted(document: bytes, password: str, owner: str | None = None) -> bytes:
    """A PDF with a password; with ``password=""``, everybody may read it and only ``owner`` may change it."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(document)))
    writer.encrypt(password, owner, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word(*paragraphs: str, rows: tuple[tuple[str, ...], ...] = ()) -> bytes:
    """A DOCX."""
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if rows:
        table = document.add_table(0, len(rows[0]))
        for row in rows:
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def archive(**files: bytes) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def zip_bomb(unpacked: int = 120_000_000) -> bytes:
    """A DOCX whose text unpacks to so many bytes."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(word("a"))) as good,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for file in good.infolist():
            if file.filename != "word/document.xml":
                made.writestr(file.filename, good.read(file))
        with made.open("word/document.xml", "w", force_zip64=True) as text:
            for _ in range(unpacked // 1_000_000):
                text.write(b" " * 1_000_000)
    return out.getvalue()


def lying_zip_bomb(unpacked: int = 120_000_000) -> bytes:
    """The same, and its table of contents says that it is small."""
    honest = bytearray(zip_bomb(unpacked))
    place = honest.rfind(b"word/document.xml") - 46
    assert honest[place : place + 4] == b"PK\x01\x02"
    struct.pack_into("<I", honest, place + 24, 1_000)
    return bytes(honest)


def word_97(text: str, *, locked: bool = False) -> bytes:
    """A DOC ([MS-DOC] within [MS-CFB]): one piece of text in Windows-1252."""
    body = text.replace("\n", "\r").encode("cp1252") + b"\r"
    start = 1536
    fib = bytearray(start)
    struct.pack_into("<HH", fib, 0, 0xA5EC, 0xC1)
    struct.pack_into("<H", fib, 10, 0x1200 | (0x0100 if locked else 0))
    struct.pack_into("<II", fib, 0x18, start, start + len(body))
    struct.pack_into("<I", fib, 0x4C, len(body))
    piece = struct.pack("<HIH", 0, start * 2 | 0x40000000, 0)
    pieces = b"\x02" + struct.pack("<I", 16) + struct.pack("<II", 0, len(body)) + piece
    struct.pack_into("<II", fib, 0x1A2, 0, len(pieces))
    # A stylesheet without styles; antiword reads beyond the end of none at all.
    styles = struct.pack("<10H", 18, 0, 10, 1, 0, 0, 0, 0, 0, 0)
    struct.pack_into("<II", fib, 0xA2, len(pieces), len(styles))
    return compound_file({"WordDocument": bytes(fib) + body, "1Table": pieces + styles})


def compound_file(streams: dict[str, bytes]) -> bytes:
    """A file of at most three streams ([MS-CFB])."""
    nothing, end = 0xFFFFFFFF, 0xFFFFFFFE
    fat = [0xFFFFFFFD, end]
    content = b""
    entries = [_entry("Root Entry", 5, end, 0, child=1)]
    for number, (name, data) in enumerate(streams.items(), 1):
        padded = data.ljust(4096, b"\0")
        padded += bytes(-len(padded) % 512)
        first, count = len(fat), len(padded) // 512
        fat += [*range(first + 1, first + count), end]
        content += padded
        entries.append(
            _entry(name, 2, first, len(padded), right=number + 1 if number < len(streams) else nothing)
        )
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    )
    header += struct.pack("<10I", 0, 1, 1, 0, 4096, end, 0, end, 0, 0)
    table = struct.pack(f"<{len(fat)}I", *fat)
    return (
        header.ljust(512, b"\xff") + table.ljust(512, b"\xff") + b"".join(entries).ljust(512, b"\0") + content
    )


def _entry(
    name: str, kind: int, first: int, size: int, *, child: int = 0xFFFFFFFF, right: int = 0xFFFFFFFF
) -> bytes:
    raw = name.encode("utf-16-le") + b"\0\0"
    links = struct.pack("<HBBIII", len(raw), kind, 1, 0xFFFFFFFF, right, child)
    return raw.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", first, size)
