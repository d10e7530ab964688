"""What the model is asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from telegram_service.answering.asking import Persona, chat_request, with_less
from telegram_service.dialogue.documents import LEAST_CHARACTERS
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import UserSettings

PERSONA = Persona(dict.fromkeys(Language, "Neo"), most_turns=4, most_characters=100)
LEASE = "Document « bail.pdf » :\nLe loyer est de 500 €."


def asked(turns: list[Turn], question: str, document: str = "", persona: Persona = PERSONA) -> list[str]:
    request = chat_request(
        persona,
        turns,
        question,
        document=document,
        settings=UserSettings(),
        language=Language.FRENCH,
        user="u",
    )
    roles = [message.role for message in request.messages]
    assert roles[0] == "system"
    assert all(one != other for one, other in pairwise(roles))
    assert roles[-1] == "user"
    return [message.content for message in request.messages[1:]]


def test_a_document_stands_before_its_question() -> None:
    assert asked([], "Combien ?", LEASE) == [f"{LEASE}\n\nCombien ?"]
    assert asked([Turn("Combien ?", "500 €", LEASE)], "Merci") == [
        f"{LEASE}\n\nCombien ?",
        "500 €",
        "Merci",
    ]


def test_a_document_outlives_the_turn_that_it_came_with() -> None:
    turns = [Turn("Combien ?", "500 €", LEASE), *(Turn("x" * 20, "y" * 20) for _ in range(9))]
    messages = asked(turns, "Et la caution ?")
    assert messages[0] == f"{LEASE}\n\n{'x' * 20}"
    assert messages[-1] == "Et la caution ?"
    assert asked([Turn("a" * 200, "b", LEASE)], "Et la caution ?") == [f"{LEASE}\n\nEt la caution ?"]


def test_a_document_whose_question_got_no_answer_is_read_all_the_same() -> None:
    assert asked([Turn("Combien ?", "", LEASE)], "Alors ?") == [f"{LEASE}\n\nAlors ?"]


def test_of_several_documents_the_newest_are_read() -> None:
    narrow = replace(PERSONA, most_document_characters=LEAST_CHARACTERS)
    turns = [Turn("un", "1", "a" * 300), Turn("deux", "2", "b" * 300)]
    assert asked(turns, "trois", "c" * 100, narrow) == [
        "un",
        "1",
        f"{'b' * 300}\n\ndeux",
        "2",
        f"{'c' * 100}\n\ntrois",
    ]


def test_what_is_too_much_is_left_out_step_by_step_and_documents_last() -> None:
    turns = [Turn("un", "1", "a" * 2_000), Turn("deux", "2"), Turn("trois", "3")]
    persona, steps = PERSONA, 0
    while (less := with_less(persona, turns, "")) is not None:
        persona, turns = less
        steps += 1
        assert turns[0].document
    assert steps <= 4
    assert not any(turn.answer for turn in turns)
    assert persona.most_document_characters >= LEAST_CHARACTERS


TURNS = st.builds(Turn, st.text(max_size=50), st.text(max_size=50), st.text(max_size=3_000))


@given(st.lists(TURNS, max_size=8), st.text(min_size=1, max_size=50), st.text(max_size=3_000))
def test_roles_alternate_and_giving_way_comes_to_an_end(
    turns: list[Turn], question: str, document: str
) -> None:
    persona, steps = PERSONA, 0
    while True:
        messages = asked(turns, question, document, persona)
        assert messages[-1].endswith(question)
        if (less := with_less(persona, turns, document)) is None:
            break
        persona, turns = less
        steps += 1
    assert steps <= 16
