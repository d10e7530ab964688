"""Whether two mails say the same: a responder that sets no header gives itself away by repeating itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from mail_service.deciding.requests import request_in
from mail_service.deciding.subjects import without_prefix
from mail_service.letters import Letter

LONGEST = 4_000
"""Characters of a text that are compared."""
FEW_WORDS = 4
"""*Merci*, *oui*, *voir pièce jointe*: people say that more than once."""
PATIENCE_WITH_FEW = 3
ALIKE = 0.8
"""Share of the words that two texts must have in common."""

_WORD = re.compile(r"[^\W\d_]+")
_DATES = frozenset(
    {"lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche", "janvier", "février", "mars"}
    | {"avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre", "monday"}
    | {"tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february", "march"}
    | {"april", "may", "june", "july", "august", "september", "october", "november", "december", "am", "pm"}
)


def essence(letter: Letter) -> str:
    """What is said, without what an automaton changes from time to time: numbers, dates, case, punctuation.

    Files belong to it, and so does the subject of a mail that says next to nothing else. What is said to ask
    about one's data is like nothing that is said otherwise: it may be asked twice in the same words, once to
    have them and once to have them deleted.
    """
    words = _words(letter.text)
    if len(words) < FEW_WORDS:
        words = [*_words(without_prefix(letter.subject)), *words]
    if (request := request_in(letter.subject)) is not None:
        words = [f"{request.value}:{word}" for word in words]
    files = sorted(hashlib.sha256(file.content).hexdigest()[:16] for file in letter.attachments)
    return " ".join([*words, *files])


def says_little(letter: Letter) -> bool:
    """Whether there is next to nothing in it but its subject."""
    return len(_words(letter.text)) < FEW_WORDS


def is_repetition(letter: Letter, earlier: Iterable[str]) -> bool:
    """Whether this sender said that before, more often than people do."""
    own = essence(letter).split()
    before = sum(_are_alike(own, other.split()) for other in earlier)
    return before >= (PATIENCE_WITH_FEW if len(own) < FEW_WORDS else 1)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text[:LONGEST].lower()) if word not in _DATES]


def _are_alike(one: list[str], other: list[str]) -> bool:
    mine, theirs = set(one), set(other)
    return len(mine & theirs) >= ALIKE * len(mine | theirs)
