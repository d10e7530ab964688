"""How the model reads what somebody sent: under its name, and cut where there is too much of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from telegram_service.dialogue.incoming import Language

LEAST_CHARACTERS = 500
"""Less of a document is of no use."""
MOST_OF_A_NAME = 80
_CUT = "\n[…]"
_HEADINGS = {
    ("document", Language.FRENCH): "Document « {name} » :",
    ("document", Language.ENGLISH): 'Document "{name}":',
    ("photo", Language.FRENCH): "Texte lu sur une image :",
    ("photo", Language.ENGLISH): "Text read from a picture:",
}


def framed(kind: str, name: str, text: str, language: Language, *, most_characters: int, cut: bool) -> str:
    """A document as it is kept and read: a heading, and the text.

    Args:
        kind: ``document`` or ``photo``.
        name: as its sender gave it.
        most_characters: of all that is returned; LEAST_CHARACTERS or more.
        cut: whether there was more text.
    """
    document = f"{_HEADINGS[kind, language].format(name=shown_name(name))}\n{text}"
    return _ended(document, most_characters) if cut else shortened(document, most_characters)


def shown_name(name: str) -> str:
    """The last part of a name, without what could be taken for anything but a name."""
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = "".join(character if character.isprintable() else " " for character in last)
    return " ".join(plain.split())[:MOST_OF_A_NAME] or "?"


def shortened(document: str, most_characters: int) -> str:
    """A framed document with a mark at its end, if it had to be cut."""
    return document if len(document) <= most_characters else _ended(document, most_characters)


def is_cut(document: str) -> bool:
    """Whether there is less of it than was sent."""
    return document.endswith(_CUT)


def in_reach(documents: Sequence[str], most_characters: int) -> list[str]:
    """What the model reads of a conversation's documents, oldest first; "" where there is none or no room.

    The newest one is cut if need be, so that there is always something of it; older ones are read whole as
    long as there is room.
    """
    room, newest = most_characters, True
    read: list[str] = []
    for document in reversed(documents):
        kept = shortened(document, room) if newest else document
        if len(kept) > room:
            kept, room = "", 0
        read.append(kept)
        room -= len(kept)
        newest = newest and not document
    return read[::-1]


def _ended(document: str, most_characters: int) -> str:
    return document.removesuffix(_CUT)[: most_characters - len(_CUT)].rstrip() + _CUT
