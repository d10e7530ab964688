"""In which language a mail is answered."""

from __future__ import annotations

import pytest

from mail_service.language import Language, language_of


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (("Bonjour, combien de congés ai-je par an ?",), Language.FRENCH),
        (("Hello, how many days off do I have?",), Language.ENGLISH),
        (("Hi!",), Language.ENGLISH),
        (("Salut !",), Language.FRENCH),
        (("",), Language.FRENCH),
        (("12345 €",), Language.FRENCH),
        (("", "What is a notice period?"), Language.ENGLISH),
        (("Voir pièce jointe", "See you"), Language.FRENCH),
        (("CDI, SMIC, RTT: what are they for?",), Language.ENGLISH),
        (("I don't know what it’s about.",), Language.ENGLISH),
    ],
)
def test_the_commonest_words_tell_the_language(texts: tuple[str, ...], language: Language) -> None:
    assert language_of(*texts) is language
