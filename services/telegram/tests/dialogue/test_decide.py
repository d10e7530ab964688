"""What the bot does about what people write, press and send."""

from __future__ import annotations

import re
from dataclasses import replace
from inspect import getsource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram_service.dialogue import phrases
from telegram_service.dialogue.actions import (
    Acknowledge,
    Action,
    Ask,
    AskAboutFile,
    AskAgain,
    Ban,
    DraftBroadcast,
    Export,
    Forget,
    MarkReachable,
    OfferModels,
    Reset,
    Save,
    Say,
    Show,
    StartBroadcast,
    Stats,
    Status,
    Stop,
    StopBroadcast,
    Switch,
)
from telegram_service.dialogue.decide import House, Standing, decide
from telegram_service.dialogue.history import Turn, block_of, first_of, recent
from telegram_service.dialogue.incoming import (
    Commanded,
    Content,
    Incoming,
    Joined,
    Language,
    Left,
    Place,
    Pressed,
    Said,
    Sender,
    Sent,
    language_of,
)
from telegram_service.dialogue.phrases import (
    CHOSEN,
    SHOW_MODELS,
    Phrase,
    commands,
    forget_keyboard,
    phrase,
    settings_keyboard,
)
from telegram_service.dialogue.settings import Creativity, Length, UserSettings, press
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages

HOUSE = House(retention_days=30)
ADMIN = Standing(is_admin=True)


def done(content: Content, standing: Standing = Standing()) -> list[Action]:
    return decide(standing, Incoming(1, Place(42), Sender(42, Language.FRENCH), content), HOUSE)


def command(text: str, standing: Standing = Standing()) -> list[Action]:
    name, _, argument = text.partition(" ")
    return done(Commanded(name, argument, 5), standing)


def said(actions: list[Action]) -> list[Phrase]:
    return [action.phrase for action in actions if isinstance(action, Say)]


def test_a_question_is_asked_and_a_file_is_read() -> None:
    assert done(Said("Combien de congés ?", 5)) == [Ask("Combien de congés ?")]
    sent = Sent("document", "f", "a.pdf", 5, "", 5)
    assert done(sent) == [AskAboutFile(sent)]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("start", [Say]),
        ("help", [Say]),
        ("privacy", [Say]),
        ("settings", [Say]),
        ("forget", [Say]),
        ("models", [OfferModels]),
        ("switch", [OfferModels]),
        ("switch petit", [Switch]),
        ("status", [Status]),
        ("reset", [Stop, Reset, Say]),
        ("stop", [Stop]),
        ("retry", [AskAgain]),
        ("export", [Export]),
    ],
)
def test_every_command_does_its_work(text: str, kinds: list[type[Action]]) -> None:
    assert [type(action) for action in command(text)] == kinds


def test_an_unknown_command_is_answered() -> None:
    assert said(command("dance")) == [Phrase.UNKNOWN_COMMAND]


@pytest.mark.parametrize("text", ["stats", "ban 7", "unban 7"])
def test_administrators_commands_are_theirs(text: str) -> None:
    assert said(command(text)) == [Phrase.ADMINS_ONLY]
    assert not said(command(text, ADMIN))


def test_what_administrators_may_do() -> None:
    assert command("stats", ADMIN) == [Stats()]
    assert command("ban 7", ADMIN) == [Ban(7, banned=True)]
    assert command("unban 7", ADMIN) == [Ban(7, banned=False)]
    for nonsense in ("ban", "ban x", "ban ²", "ban " + "9" * 40):
        assert said(command(nonsense, ADMIN)) == [Phrase.BAN_USAGE]
    assert command("broadcast à tous", ADMIN) == [DraftBroadcast("à tous")]
    assert said(command("broadcast", ADMIN)) == [Phrase.BROADCAST_USAGE]
    assert said(command("broadcast à tous")) == [Phrase.ADMINS_ONLY]
    assert done(Pressed("q", 9, "broadcast:go:3"), ADMIN) == [Acknowledge("q"), StartBroadcast(3, 9)]
    assert done(Pressed("q", 9, "broadcast:stop:3"), ADMIN) == [Acknowledge("q"), StopBroadcast(3, 9)]
    assert done(Pressed("q", 9, "broadcast:go:3")) == [Acknowledge("q", Phrase.OLD_BUTTON)]
    assert said(command("help", ADMIN)) == [Phrase.HELP, Phrase.HELP_ADMIN]


def test_an_administrator_who_has_shut_out_themselves_can_come_back() -> None:
    assert command("unban 7", replace(ADMIN, is_banned=True)) == [Ban(7, banned=False)]


def test_what_is_kept_is_given_in_private_only() -> None:
    incoming = Incoming(1, Place(-5, is_group=True), Sender(42, Language.FRENCH), Commanded("export", "", 1))
    assert decide(Standing(), incoming, HOUSE) == [Say(Phrase.PRIVATE_ONLY)]


def test_who_is_banned_gets_nothing_and_who_is_not_allowed_gets_a_way_in() -> None:
    banned, stranger = Standing(is_banned=True), Standing(is_allowed=False)
    assert done(Said("x", 1), banned) == command("start", banned) == []
    assert said(done(Said("x", 1), stranger)) == [Phrase.NOT_ALLOWED]
    assert said(command("start", stranger)) == [Phrase.NOT_ALLOWED]
    assert done(Pressed("q", 1, "length:short"), stranger) == [Acknowledge("q")]


def test_everybody_may_have_their_data_and_delete_it() -> None:
    stranger = Standing(is_allowed=False)
    assert command("export", stranger) == [Export()]
    assert said(command("forget", stranger)) == [Phrase.FORGET_ASK]
    assert Forget() in done(Pressed("q", 1, "forget:yes"), stranger)


def test_nothing_is_deleted_before_it_is_confirmed() -> None:
    assert Forget() not in command("forget")
    assert Forget() not in done(Pressed("q", 1, "forget:no"))
    yes = done(Pressed("q", 9, "forget:yes"))
    assert yes == [Acknowledge("q"), Forget(), Show(9, Phrase.FORGOTTEN)]


def test_settings_change_in_place() -> None:
    actions = done(Pressed("q", 9, "creativity:creative"))
    settings = UserSettings(creativity=Creativity.CREATIVE)
    assert actions == [
        Acknowledge("q"),
        Save(settings),
        Show(9, Phrase.SETTINGS, settings_keyboard(settings, Language.FRENCH), Language.FRENCH),
    ]


def test_a_language_that_is_chosen_is_spoken_at_once() -> None:
    *_, shown = done(Pressed("q", 9, "language:en"))
    assert isinstance(shown, Show)
    assert shown.keyboard == settings_keyboard(UserSettings(language=Language.ENGLISH), Language.ENGLISH)
    assert shown.language is Language.ENGLISH
    english = Standing(settings=UserSettings(language=Language.ENGLISH))
    *_, shown = done(Pressed("q", 9, "language:"), english)
    assert isinstance(shown, Show)
    assert shown.language is Language.FRENCH


def test_a_model_is_chosen_with_a_button() -> None:
    assert done(Pressed("q", 9, "models:show")) == [Acknowledge("q"), OfferModels(9)]
    assert done(Pressed("q", 9, "model:petit")) == [Acknowledge("q"), Switch("petit", 9)]


@given(st.text(max_size=80))
def test_foreign_data_of_buttons_changes_nothing(data: str) -> None:
    if data.split(":", maxsplit=1)[0] not in {
        "models",
        "length",
        "creativity",
        "language",
        "streaming",
        "forget",
        "model",
    }:
        assert done(Pressed("q", 9, data)) == [Acknowledge("q", Phrase.OLD_BUTTON)]
    else:
        done(Pressed("q", 9, data))


def test_who_blocks_the_bot_is_remembered() -> None:
    assert done(Left()) == [MarkReachable(reachable=False)]
    assert done(Joined()) == [MarkReachable(reachable=True)]


@pytest.mark.parametrize("content", [Left(), Joined()])
def test_who_puts_the_bot_into_a_group_or_out_of_it_can_be_written_to_as_before(content: Content) -> None:
    group = Place(-100, is_group=True)
    assert decide(Standing(), Incoming(1, group, Sender(42, Language.FRENCH), content), HOUSE) == []


def test_languages_of_telegram() -> None:
    found = {code: language_of(code) for code in ("fr", "fr-CA", "FR", "en", "de", "", None)}
    french = {"fr", "fr-CA", "FR", "", None}
    assert {code for code, language in found.items() if language is Language.FRENCH} == french


@pytest.mark.parametrize("language", list(Language))
def test_everything_can_be_said_in_every_language(language: Language) -> None:
    # Whatever is filled in somewhere.
    values: dict[str, object] = dict.fromkeys(re.findall(r"\{(\w+)\}", getsource(phrases)), 2)
    values |= {"characters": 8_000, "megabytes": 20}
    for one in Phrase:
        text = phrase(one, language, **values)
        assert len(to_messages(read_markdown(text))) == 1
        assert not set("{}") & set(text)
    assert commands(language).keys() == commands(Language.FRENCH).keys()


@given(
    st.builds(
        UserSettings,
        length=st.sampled_from(Length),
        creativity=st.sampled_from(Creativity),
        language=st.none() | st.sampled_from(Language),
        streaming=st.booleans(),
    ),
    st.sampled_from(Language),
)
def test_every_button_of_the_settings_works_and_the_present_choices_are_marked(
    settings: UserSettings, language: Language
) -> None:
    ((model,), *rows) = settings_keyboard(settings, language)
    assert model.data == SHOW_MODELS
    for row in rows:
        assert [press(settings, button.data) == settings for button in row] == [
            button.text.startswith(CHOSEN) for button in row
        ]
        for button in row:
            assert 1 <= len(button.data.encode()) <= 64
    assert len(forget_keyboard(language)[0]) == 2


turns = st.lists(st.builds(Turn, st.text(max_size=20), st.text(max_size=20)), max_size=60)


@given(turns, st.integers(1, 50), st.integers(0, 400))
def test_what_is_left_out_of_a_conversation_only_grows_by_blocks(
    conversation: list[Turn], most_turns: int, most_characters: int
) -> None:
    starts = []
    for length in range(len(conversation) + 1):
        kept = recent(conversation[:length], most_turns=most_turns, most_characters=most_characters)
        assert len(kept) <= most_turns
        assert sum(turn.characters for turn in kept) <= most_characters
        assert list(kept) == conversation[length - len(kept) : length]
        starts.append(length - len(kept) if kept else None)
    known = [start for start in starts if start is not None]
    assert known == sorted(known)
    block = max(1, min(8, most_turns // 2))
    assert all(start % block == 0 for start in known)


@given(turns, st.integers(1, 50), st.integers(0, 400))
def test_the_newest_turns_are_enough_to_leave_out_the_same(
    conversation: list[Turn], most_turns: int, most_characters: int
) -> None:
    known = conversation[first_of(len(conversation), most_turns) :]
    assert len(known) < most_turns + block_of(most_turns)
    of_known, of_all = (
        recent(turns_of, most_turns=most_turns, most_characters=most_characters)
        for turns_of in (known, conversation)
    )
    assert list(of_known) == list(of_all)
