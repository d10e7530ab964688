"""What somebody asks about their own data, by the subject of a mail."""

from __future__ import annotations

import re
import unicodedata

from mail_service.deciding.decisions import Request
from mail_service.deciding.subjects import without_prefix

_WORDS = {
    "export my data": Request.EXPORT,
    "exporter mes donnees": Request.EXPORT,
    "delete my data": Request.DELETE,
    "supprimer mes donnees": Request.DELETE,
}
_NO_LETTERS = re.compile(r"[^a-z]+")


def request_in(subject: str) -> Request | None:
    """The request; accents, case, punctuation and *Re:* do not count, further words do."""
    bare = unicodedata.normalize("NFD", without_prefix(subject)).lower()
    bare = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return _WORDS.get(_NO_LETTERS.sub(" ", bare).strip())
