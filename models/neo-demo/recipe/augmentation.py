"""The same question as other hands would type it."""

import unicodedata
from collections.abc import Callable, Collection
from random import Random

from recipe.corpus import gist

Change = Callable[[str, Random], str]

BEFORE = {
    "fr": (
        "Bonjour, ",
        "Bonsoir, ",
        "Salut, ",
        "S'il vous plaît, ",
        "Excusez-moi, ",
        "Dis-moi, ",
        "Dites-moi, ",
    ),
    "en": ("Hello, ", "Hi, ", "Hey, ", "Please, ", "Excuse me, ", "Tell me, ", "Good morning, "),
}
AFTER = {
    "fr": (
        " merci",
        ", merci",
        " Merci !",
        " svp",
        " s'il vous plaît",
        ", s'il te plaît ?",
        " Merci d'avance.",
    ),
    "en": (" thanks", ", thanks", " Thank you!", " please", ", please?", " pls", " Thanks in advance."),
}
# A question shorter than this may be a greeting itself, and loses its meaning with one word.
SHORT = 4


def lower(text: str, random: Random) -> str:
    return text.lower() if random.random() < 0.8 else text[0].lower() + text[1:]


def without_accents(text: str, _: Random) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def other_ending(text: str, random: Random) -> str:
    return text.rstrip(" ?!.…") + random.choice(("", "", " ?", "?", ".", " !", "...", " ??"))


def other_apostrophe(text: str, random: Random) -> str:
    return text.replace("'", random.choice("’’ "))


def typo(text: str, random: Random) -> str:
    place = random.randrange(len(text))
    letter, rest = text[place : place + 1], text[place + 1 :]
    slip = random.randrange(3)
    if slip == 0:
        return text[:place] + rest
    if slip == 1:
        return text[:place] + letter * 2 + rest
    return text[:place] + rest[:1] + letter + rest[1:]


def word_dropped(text: str, random: Random) -> str:
    words = text.split()
    if len(words) <= SHORT:
        return text
    del words[random.randrange(len(words))]
    return " ".join(words)


def words_swapped(text: str, random: Random) -> str:
    words = text.split()
    if len(words) <= SHORT:
        return text
    place = random.randrange(len(words) - 1)
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


CHANGES: tuple[tuple[float, Change], ...] = (
    (0.20, word_dropped),
    (0.08, words_swapped),
    (0.12, typo),
    (0.25, lower),
    (0.15, without_accents),
    (0.25, other_ending),
    (0.10, other_apostrophe),
)


def polite(text: str, language: str, random: Random) -> str:
    if len(text.split()) < SHORT:
        return text
    if random.random() < 0.5:
        return random.choice(BEFORE[language]) + text[0].lower() + text[1:]
    return text + random.choice(AFTER[language])


def vary(phrasings: tuple[str, ...], chosen: str, language: str, random: Random) -> str:
    """``chosen``, varied; now and then followed by another of its ``phrasings``, as people ask twice."""
    if random.random() < 0.3:
        return chosen
    question = chosen
    if random.random() < 0.12:
        question = f"{question} {random.choice(phrasings)}"
    for probability, change in CHANGES:
        if random.random() < probability:
            question = change(question, random)
    if random.random() < 0.12:
        question = polite(question, language, random)
    return question.strip() or chosen


def vary_but(
    forbidden: Collection[str], phrasings: tuple[str, ...], chosen: str, language: str, random: Random
) -> str:
    """Like ``vary``, but never a question whose gist is ``forbidden``: those are kept for the evaluation."""
    question = vary(phrasings, chosen, language, random)
    return chosen if gist(question) in forbidden else question
