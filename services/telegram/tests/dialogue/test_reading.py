"""From Telegram's updates to what came in."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.emulators.telegram.world import Chat, Person, World

from telegram_service.dialogue.incoming import (
    Commanded,
    Incoming,
    Joined,
    Language,
    Left,
    Place,
    Pressed,
    Said,
    Sender,
    Sent,
)
from telegram_service.dialogue.reading import read_update

BOT_ID, BOT_NAME = 7_000_000, "neo_test_bot"
GROUP = Chat(-1001, "supergroup", "Bureau", topics={7})


@pytest.fixture
def world() -> World:
    world = World(lambda: 1_000.0)
    world.add_group(GROUP)
    return world


@pytest.fixture
def anne(world: World) -> Person:
    return world.add_person(Person(42, "Anne", "fr-FR", "anne"))


def read(update: dict[str, Any]) -> Incoming | None:
    return read_update(update, BOT_ID, BOT_NAME)


def content(update: dict[str, Any]) -> object:
    incoming = read(update)
    return None if incoming is None else incoming.content


def test_a_private_message_is_said_by_its_sender(world: World, anne: Person) -> None:
    update = world.say(anne, text="Bonjour")
    incoming = read(update)
    message_id = update["message"]["message_id"]
    assert incoming == Incoming(
        update["update_id"],
        Place(42),
        Sender(42, Language.FRENCH),
        Said("Bonjour", message_id, sent_at=1_000),
    )
    assert (incoming.place.lane, incoming.is_control) == ("42", False)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/start", ("start", "")),
        ("/Switch  petit modèle ", ("switch", "petit modèle")),
        ("/help@neo_test_bot", ("help", "")),
        ("/reset\ntexte", ("reset", "texte")),
        ("/broadcast\nBonjour à tous\n\nÀ demain ", ("broadcast", "Bonjour à tous\n\nÀ demain")),
    ],
)
def test_commands_are_told_apart(world: World, anne: Person, text: str, command: tuple[str, str]) -> None:
    found = content(world.say(anne, text=text))
    assert isinstance(found, Commanded)
    assert (found.name, found.argument) == command


def test_a_slash_elsewhere_is_text(world: World, anne: Person) -> None:
    assert isinstance(content(world.say(anne, text="et /start ?")), Said)


def test_in_groups_only_what_is_meant_for_the_bot_is_heard(world: World, anne: Person) -> None:
    group = GROUP.id
    mine = world.send({"chat_id": group, "text": "Bonjour"})
    assert content(world.say(anne, group, text="entre nous")) is None
    assert content(world.say(anne, group, text="/help@another_bot")) is None
    mentioned = content(world.say(anne, group, text="@Neo_test_bot une question"))
    assert isinstance(mentioned, Said)
    assert mentioned.text == "une question"
    assert isinstance(content(world.say(anne, group, text="oui", reply_to_message=mine)), Said)
    assert isinstance(content(world.say(anne, group, text="/help")), Commanded)


def test_a_mention_is_found_as_it_was_written_and_no_other_bot_is_taken_for_this_one(
    world: World, anne: Person
) -> None:
    assert content(world.say(anne, GROUP.id, text="@neo_test_bot2 et @neo_test_bot_fr ?")) is None
    assert content(world.say(anne, GROUP.id, text="écrivez à anne@neo_test_bot")) is None
    for text, meant in (
        ("İİİ @NEO_test_bot, bonjour", "İİİ , bonjour"),
        ("Bonjour @neo_test_bot!", "Bonjour !"),
        ("@neo_test_bot2, @neo_test_bot ?", "@neo_test_bot2,  ?"),
    ):
        mentioned = content(world.say(anne, GROUP.id, text=text))
        assert isinstance(mentioned, Said)
        assert mentioned.text == meant


def test_topics_are_places_of_their_own_and_the_general_one_is_the_chat(world: World, anne: Person) -> None:
    in_topic = read(world.say(anne, GROUP.id, text="/help", message_thread_id=7, is_topic_message=True))
    general = read(world.say(anne, GROUP.id, text="/help", message_thread_id=1, is_topic_message=True))
    reply = read(world.say(anne, GROUP.id, text="/help", message_thread_id=99))
    assert in_topic is not None
    assert general is not None
    assert reply is not None
    assert in_topic.place == Place(GROUP.id, 7, is_group=True)
    assert general.place == reply.place == Place(GROUP.id, None, is_group=True)
    assert in_topic.place.lane != general.place.lane
    assert general.place.is_forum
    in_private = read(world.say(anne, text="/help"))
    assert in_private is not None
    assert not in_private.place.is_forum


def test_files_come_with_what_was_written(world: World, anne: Person) -> None:
    document = {"file_id": "f1", "file_name": "../../x.pdf", "file_size": 12}
    assert content(world.say(anne, document=document, caption="Résume")) == Sent(
        "document", "f1", "../../x.pdf", 12, "Résume", 1
    )
    sizes = [{"file_id": "s", "width": 90}, {"file_id": "l", "width": 900, "file_size": 5}]
    photo = content(world.say(anne, photo=sizes))
    assert isinstance(photo, Sent)
    assert (photo.kind, photo.file_id) == ("photo", "l")
    voice = content(world.say(anne, voice={"file_id": "v", "duration": 3}))
    assert isinstance(voice, Sent)
    assert voice.kind == "voice"


def test_buttons_and_comings_and_goings(world: World, anne: Person) -> None:
    sent = world.send({"chat_id": 42, "text": "?"})
    pressed = read(world.press(anne, 42, sent["message_id"], "length:short"))
    assert pressed is not None
    assert isinstance(pressed.content, Pressed)
    assert (pressed.content.data, pressed.is_control) == ("length:short", True)
    assert isinstance(content(world.block(anne)), Left)
    assert isinstance(content(world.block(anne, blocked=False)), Joined)


def test_what_must_not_wait_is_control(world: World, anne: Person) -> None:
    def is_control(text: str) -> bool:
        incoming = read(world.say(anne, text=text))
        assert incoming is not None
        return incoming.is_control

    assert is_control("/stop")
    assert is_control("/forget")
    assert not is_control("/retry")
    assert not is_control("bonjour")


def test_what_nobody_reads_is_not_met_with_silence(world: World, anne: Person) -> None:
    for kind in ("sticker", "video", "video_note", "location", "poll"):
        assert content(world.say(anne, None, **{kind: {}})) == Sent("other", "", "", 0, "", ANY)
    gif = world.say(anne, animation={}, document={"file_id": "f"})
    assert content(gif) == Sent("other", "", "", 0, "", ANY)


def test_other_bots_and_edits_are_none_of_our_business(world: World, anne: Person) -> None:
    update = world.say(anne, text="x")
    update["message"]["from"]["is_bot"] = True
    assert read(update) is None
    assert read({"update_id": 1, "edited_message": {}}) is None


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "update_id": json_like,
            "message": json_like,
            "callback_query": json_like,
            "my_chat_member": json_like,
        },
    )
)
def test_whatever_is_sent_nothing_breaks(update: dict[str, Any]) -> None:
    read(update)


@given(st.data())
def test_a_real_update_with_anything_in_it_breaks_nothing(data: st.DataObject) -> None:
    world = World(lambda: 1_000.0)
    update = world.say(world.add_person(Person(42, "Anne")), text="/start x")
    place: Any = update
    for _ in range(data.draw(st.integers(1, 4))):
        if not isinstance(place, dict) or not place:
            break
        key = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[key] = data.draw(json_like)
            break
        place = place[key]
    read(update)
