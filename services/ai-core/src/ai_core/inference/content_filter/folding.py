"""One form for all spellings of a word: no case, no accents, no invisible characters. Pure.

Each character is folded by itself, so a text folds to the same in whatever pieces it comes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_IGNORED_CATEGORIES = frozenset({"Mn", "Me", "Cf"})
"""Accents of their own, enclosing marks, and what nobody sees: zero-width spaces, soft hyphens."""
_LIGATURES = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "’": "'", "‘": "'", "ʼ": "'"}
    | dict.fromkeys("‐‒–—−", "-")
)
"""What Unicode's own decomposition leaves as it is."""


@lru_cache(maxsize=16_384)
def fold(character: str) -> str:
    """What a character counts as: mostly one character, more for ligatures, none for what is ignored.
    White space of any kind is a space."""
    folded = "".join(map(_decomposed, _decomposed(character).casefold())).translate(_LIGATURES)
    return " " if folded.isspace() else folded


def is_word_character(character: str) -> bool:
    """Letters, digits and the underscore, as ``\\w`` of Python's expressions."""
    return character.isalnum() or character == "_"


def _decomposed(text: str) -> str:
    return "".join(
        part
        for part in unicodedata.normalize("NFKD", text)
        if unicodedata.category(part) not in _IGNORED_CATEGORIES
    )
