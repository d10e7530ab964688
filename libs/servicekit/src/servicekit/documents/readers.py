"""Reads what our libraries can read, piece by piece. Runs confined: nothing here is called elsewhere."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import docx
from docx.blkcntnr import BlockItemContainer
from docx.document import Document as WordDocument
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from lxml.etree import LxmlError
from pypdf import PasswordType, PdfReader
from pypdf.errors import LimitReachedError, PyPdfError

from servicekit.documents.port import DocumentRefused, Limits, Refusal

MOST_FILES = 5_000
"""In an archive; a document has a few dozen."""
CELLS = " | "


def pdf_pieces(data: bytes, limits: Limits) -> Iterator[str]:
    """The text of each page. Raises DocumentRefused."""
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            raise DocumentRefused(Refusal.ENCRYPTED)
        count = len(reader.pages)
    except LimitReachedError:
        raise DocumentRefused(Refusal.TOO_LARGE) from None
    except (
        PyPdfError,
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        raise DocumentRefused(Refusal.UNREADABLE) from None
    if count > limits.pages:
        raise DocumentRefused(Refusal.TOO_MANY_PAGES)
    yield from _pages(reader, count)


def _pages(reader: PdfReader, count: int) -> Iterator[str]:
    """A page that cannot be read does not take the others with it, unless there are no others."""
    read = 0
    refusal = Refusal.UNREADABLE
    for number in range(count):
        try:
            text = reader.pages[number].extract_text()
        except LimitReachedError:
            refusal = Refusal.TOO_LARGE
        except Exception:  # noqa: BLE001, S112 — a broken page raises whatever its parser stumbles upon
            continue
        else:
            read += 1
            yield f"{text.strip()}\n\n"
    if not read:
        raise DocumentRefused(refusal if count else Refusal.UNREADABLE)


def docx_pieces(data: bytes, limits: Limits) -> Iterator[str]:
    """The text of each paragraph and row. Raises DocumentRefused."""
    _look_into(data, limits)
    try:
        document = docx.Document(BytesIO(data))
    except (KeyError, PackageNotFoundError, ValueError):
        # An archive, but none with a document of Word in it.
        raise DocumentRefused(Refusal.UNSUPPORTED) from None
    except (LxmlError, zipfile.BadZipFile, AttributeError, EOFError, NotImplementedError, OSError):
        raise DocumentRefused(Refusal.UNREADABLE) from None
    yield from _blocks(document)


def _look_into(data: bytes, limits: Limits) -> None:
    """Refuse an archive by its table of contents: nothing is unpacked that it announces to be too much, and
    ``zipfile`` unpacks no more of a file than is announced."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            files = archive.infolist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError):
        raise DocumentRefused(Refusal.UNREADABLE) from None
    if len(files) > MOST_FILES or sum(file.file_size for file in files) > limits.unpacked_bytes:
        raise DocumentRefused(Refusal.TOO_LARGE)
    if any(file.flag_bits & 1 for file in files):
        raise DocumentRefused(Refusal.ENCRYPTED)


def _blocks(container: WordDocument | BlockItemContainer) -> Iterator[str]:
    for block in container.iter_inner_content():
        if isinstance(block, Table):
            yield from _rows(block)
        else:
            yield f"{block.text}\n"


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        # A merged cell comes up once for each column.
        cells: dict[Any, str] = {}
        for cell in row.cells:
            cells.setdefault(cell._tc, " ".join("".join(_blocks(cell)).split()))
        yield CELLS.join(cells.values()) + "\n"
