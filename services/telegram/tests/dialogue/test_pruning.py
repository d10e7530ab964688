"""What is kept of an update is what the bot reads, and nothing about people beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.emulators.telegram.world import Chat, Person, World

from telegram_service.dialogue.pruning import pruned
from telegram_service.dialogue.reading import read_update

BOT_ID, BOT_NAME = 7_000_000, "neo_test_bot"
GROUP = Chat(-1001, "supergroup", "Le bureau d'Anne", topics={7})
NAMES = ("Annabelle", "anna_b", "Bérénice", "bureau", "parole de Bérénice", "0612345678")


def updates() -> dict[str, dict[str, Any]]:
    world = World(lambda: 1_000.0)
    world.add_group(GROUP)
    anne = world.add_person(Person(42, "Annabelle", "fr", "anna_b"))
    berenice = world.add_person(Person(43, "Bérénice", "en"))
    mine = world.send({"chat_id": GROUP.id, "text": "Bonjour"})
    hers = world.say(berenice, GROUP.id, text="parole de Bérénice")["message"]
    file = {"file_id": "f", "file_unique_id": "u", "file_name": "x.pdf", "file_size": 12}
    sizes = [{"file_id": "s", "width": 90}, {"file_id": "l", "width": 900, "file_size": 5}]
    contact = {"phone_number": "0612345678", "first_name": "Bérénice"}
    return {
        "text": world.say(anne, text="Bonjour"),
        "command": world.say(anne, text="/switch petit modèle"),
        "mention": world.say(anne, GROUP.id, text="@neo_test_bot oui ?", reply_to_message=hers),
        "reply": world.say(anne, GROUP.id, text="oui", reply_to_message=mine),
        "topic": world.say(anne, GROUP.id, text="/help", message_thread_id=7, is_topic_message=True),
        "unheard": world.say(anne, GROUP.id, text="entre nous"),
        "document": world.say(anne, document=file, caption="Résume"),
        "photo": world.say(anne, photo=sizes),
        "voice": world.say(anne, voice={"file_id": "v", "duration": 3}),
        "contact": world.say(anne, contact=contact),
        "press": world.press(anne, GROUP.id, mine["message_id"], "length:short"),
        "block": world.block(anne),
    }


@pytest.mark.parametrize("kind", updates())
def test_what_is_kept_says_the_same_and_names_nobody(kind: str) -> None:
    update = updates()[kind]
    kept = pruned(update)
    assert read_update(kept, BOT_ID, BOT_NAME) == read_update(update, BOT_ID, BOT_NAME)
    for each in (kept, update):
        read_again = read_update(each, BOT_ID, BOT_NAME)
        assert read_again is None or read_again.place.is_forum == (read_again.place.chat_id == GROUP.id)
    text = json.dumps(kept, ensure_ascii=False)
    assert not [name for name in NAMES if name in text]
    assert pruned(kept) == kept


def test_who_was_replied_to_is_not_kept() -> None:
    replied = pruned(updates()["mention"])["message"]["reply_to_message"]
    assert replied == {"from": {}}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(("message", "from", "chat", "text", "id", "type", "photo", "entities")), inner
            )
        ),
    )
)
def test_no_update_is_too_odd(value: Any) -> None:
    if isinstance(value, dict):
        pruned(value)
