"""What somebody is told whose message is not worked on."""

from __future__ import annotations

import pytest

from servicekit.storage.sealing import SecretSeal
from telegram_service.answering.envelopes import Envelopes
from telegram_service.dialogue.actions import Acknowledge, Say
from telegram_service.dialogue.decide import House, Standing, decide
from telegram_service.dialogue.incoming import Content, Incoming, Language, Place, Pressed, Said, Sender
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.dialogue.refusal import Limit, Refusal

HOUSE = House(retention_days=30)
SOON = Refusal(Limit.MESSAGES, 15)


def incoming(content: Content) -> Incoming:
    return Incoming(1, Place(42), Sender(42, Language.FRENCH), content)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("refusal", "time"),
    [
        (SOON, "15 s"),
        (Refusal(Limit.OVERALL, 20), "20 s"),
        (Refusal(Limit.TOKENS, 7_200), "2 h"),
        (Refusal(Limit.TOKENS, 60), "1 h"),
    ],
)
def test_who_is_refused_hears_how_long_to_wait(refusal: Refusal, time: str, language: Language) -> None:
    (said,) = decide(Standing(), incoming(Said("bonjour", 1)), HOUSE, refusal)
    assert isinstance(said, Say)
    assert time in phrase(said.phrase, language, **said.values)


def test_a_button_is_not_left_spinning() -> None:
    actions = decide(Standing(), incoming(Pressed("query", 1, "length:short")), HOUSE, SOON)
    assert actions == [Acknowledge("query"), Say(Phrase.SLOW_DOWN, {"seconds": 15})]


@pytest.mark.parametrize("standing", [Standing(is_banned=True), Standing(is_allowed=False)])
def test_who_may_not_use_the_bot_is_not_told_how_to_flood_it(standing: Standing) -> None:
    assert decide(standing, incoming(Said("bonjour", 1)), HOUSE, SOON) == []


def test_what_was_decided_is_kept_with_the_message_and_cannot_come_from_outside() -> None:
    envelopes = Envelopes(SecretSeal(b"secret of the tests", "telegram"))
    update = {"update_id": 1, "refused": {"limit": "messages", "seconds": 10**6}}
    opened = envelopes.open_update(envelopes.close_update(update))
    assert envelopes.refusal_in(opened) is None
    opened = envelopes.open_update(envelopes.close_update(update, SOON))
    assert envelopes.refusal_in(opened) == SOON
