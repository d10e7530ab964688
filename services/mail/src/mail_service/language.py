"""In which language a mail is answered. Pure.

Two languages are told apart by their commonest words and by accents; French is the suite's first language,
so it is the answer where nothing tells.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Language(StrEnum):
    """Those that the service speaks."""

    FRENCH = "fr"
    ENGLISH = "en"


_COMMON_WORDS = {
    Language.FRENCH: "à au aux avec bonjour bonsoir ce cela cette comme comment dans de des du elle en est "
    "et être il j je "
    "jours l la le les leur ma mais me merci mes mon ne nous on ou où par pas plus pour puis qu que quel "
    "quelle quels qui quoi s sa salut se si son sont suis sur un une votre vous",
    Language.ENGLISH: "a about am an and any are as at be but by can could days dear do does for from get "
    "has have hello hi "
    "how i if in is it i'm many my need no not of on or our please should thank thanks that the there "
    "this "
    "to was we what when where which who will with would you your",
}
_COMMON = {language: frozenset(words.split()) for language, words in _COMMON_WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+(?:['’](?:m|s|t|re|ve|ll|d)\b)?")
_ACCENTS = frozenset("éèêëàâçîïôùûœ")
"""English has few words with one."""
_READ_CHARACTERS = 20_000


def language_of(*texts: str) -> Language:
    """The language that more words of the first text belong to; where that says nothing, of the next."""
    for text in texts:
        words = [word.lower().replace("’", "'") for word in _WORD.findall(text[:_READ_CHARACTERS])]
        french, english = (sum(word in _COMMON[one] for word in words) for one in Language)
        french += sum(not _ACCENTS.isdisjoint(word) for word in words)
        if french != english:
            return Language.ENGLISH if english > french else Language.FRENCH
    return Language.FRENCH
