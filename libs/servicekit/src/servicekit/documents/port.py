"""What callers of the extractor deal with: documents, refusals, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a document is, by its bytes."""

    PDF = "pdf"
    DOCX = "docx"
    DOC = "doc"
    TEXT = "text"
    """TXT, Markdown, CSV and the like."""
    HTML = "html"
    IMAGE = "image"
    """PNG, JPEG, GIF, WebP, TIFF, BMP: its text by OCR, in French and English."""


class Refusal(StrEnum):
    """Why there is no text. None of them passes by trying again."""

    TOO_LARGE = "too_large"
    """It has more bytes than are taken, or unpacks to more than fits in memory: bombs end here."""
    TOO_MANY_PAGES = "too_many_pages"
    ENCRYPTED = "encrypted"
    """It needs a password."""
    UNREADABLE = "unreadable"
    """Damaged, cut off, or not at all what its name says."""
    TIMED_OUT = "timed_out"
    UNSUPPORTED = "unsupported"
    """A kind of file that is not read."""
    NOT_INSTALLED = "not_installed"
    """It would be read if the operator installed tesseract (images) or antiword (DOC)."""
    EMPTY = "empty"
    """There is no text in it, such as in a PDF of scanned pages."""


class DocumentRefused(Exception):
    """There is no text to be had from this document.

    Attributes:
        refusal: why; what is said to people is up to the service.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class ExtractorUnavailable(Exception):
    """Not the document's fault: no process could be started, or the disk is full. Trying later may help."""


@dataclass(frozen=True, slots=True)
class Document:
    """What was read."""

    text: str
    """Without spaces at its ends, never empty; lines end in ``\\n``, and there are no NUL characters."""
    kind: Kind
    cut: bool = False
    """Whether there was more than ``Limits.characters``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one document may take."""

    input_bytes: int = 20_000_000
    unpacked_bytes: int = 100_000_000
    """Of all files in a DOCX together."""
    characters: int = 200_000
    """Of text; what comes after is left out, and ``Document.cut`` says so."""
    pages: int = 1_000
    seconds: float = 30.0
    """From the start of its process to its end."""
    memory_bytes: int = 1_000_000_000
    """Address space of its process. OCR of a large photograph takes about half of this."""


DEFAULT_LIMITS = Limits()


class Extractor(Protocol):
    """Reads documents."""

    async def extract(self, data: bytes, *, name: str = "", content_type: str = "") -> Document:
        """The text of a document.

        Args:
            name: as its sender gave it: a hint to its kind, never a path.
            content_type: likewise, such as ``text/csv; charset=iso-8859-1``.

        Raises:
            DocumentRefused: there is no text to be had; trying again will not help.
            ExtractorUnavailable: trying again later may help.
        """
        ...
