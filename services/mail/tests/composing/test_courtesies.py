"""Nobody is greeted twice, and no word of an answer is lost for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_service.composing.courtesies import without_courtesies

BODY = "Le préavis est de **deux mois**.\n\nSauf faute grave."


@pytest.mark.parametrize(
    "greeting",
    [
        "Bonjour,",
        "Bonjour Anne Martin,",
        "**Bonjour,**",
        "Bonsoir !",
        "Hello Anne,",
        "Dear Anne,",
        "Chère Anne,",
    ],
)
@pytest.mark.parametrize(
    "closing",
    [
        "Cordialement,",
        "Bien cordialement,\n\nNeo",
        "Kind regards,\nNeo\nAssistant IA Code du Travail",
        "Cordialement,  \n[Votre nom]",
        "*Best regards*",
        "",
    ],
)
def test_what_the_sheet_says_already_is_left_out(greeting: str, closing: str) -> None:
    assert without_courtesies(f"{greeting}\n\n{BODY}\n\n{closing}") == BODY


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        "Bonjour ! Je suis Neo, et je réponds à vos questions.",
        "Bonjour,",
        "Cordialement,\nNeo",
        "Cher est le mot juste : deux mois.\n\nVoilà.",
        "Hi est un mot anglais.\n\nIl salue.",
        "Voici un modèle :\n\nMadame, Monsieur,\n\nJe démissionne.\n\nCordialement,\n[Votre nom]",
        "Voici un modèle :\n\n> **Objet : démission**\n>\n> Je démissionne.\n\nCordialement,\n[Votre nom]",
        "Écrivez « Cordialement » à la fin.",
        "Cordialement,\n\nNeo.\n\nPS : le délai court dès demain.",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert without_courtesies(text) == text


@given(
    st.lists(st.sampled_from(["Bonjour,", "Cordialement,", "Neo", "", "Deux mois.", "Madame,"]), max_size=9)
)
def test_of_any_mixture_the_words_between_stay_in_order(lines: list[str]) -> None:
    text = "\n".join(lines)
    left = without_courtesies(text)
    assert left in text
    assert bool(left) == bool(text.strip())
    assert left.count("Deux mois.") == lines.count("Deux mois.")
