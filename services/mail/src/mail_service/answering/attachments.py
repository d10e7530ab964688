"""The text of what is attached to a mail, read in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mail_service.answering.asking import ReadFile
from mail_service.letters import Attached
from servicekit.documents.port import DocumentRefused, Extractor, Kind, Refusal

MOST_FILES = 10
_WITHOUT_TEXT = frozenset(
    {
        *("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"),
        *("text/calendar", "application/ics", "text/vcard", "text/x-vcard", "application/pgp-keys"),
    }
)
"""What mail programs add by themselves: nobody asks about it."""


@dataclass(frozen=True, slots=True)
class Files:
    """What was found in the attachments of a mail."""

    texts: tuple[ReadFile, ...]
    not_read: tuple[str, ...]
    """Names of those that could not be read; data of a stranger."""


async def read_files(extractor: Extractor, attached: Sequence[Attached], *, most_bytes: int) -> Files:
    """Read them, one after the other. Raises ExtractorUnavailable.

    Args:
        most_bytes: of one file.
    """
    texts: list[ReadFile] = []
    not_read: list[str] = []
    worth_it = [file for file in attached if file.content_type.lower() not in _WITHOUT_TEXT]
    for number, file in enumerate(worth_it):
        if number >= MOST_FILES or len(file.content) > most_bytes:
            not_read.append(file.name)
            continue
        try:
            document = await extractor.extract(file.content, name=file.name, content_type=file.content_type)
        except DocumentRefused as error:
            # A logo or a photograph without words is no question.
            if not (error.refusal is Refusal.EMPTY and file.content_type.lower().startswith("image/")):
                not_read.append(file.name)
            continue
        if document.kind is not Kind.IMAGE or any(character.isalnum() for character in document.text):
            texts.append(ReadFile(file.name, document.text))
    return Files(tuple(texts), tuple(not_read))
