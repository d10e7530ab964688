"""What to do about what came in: a pure function of who wrote and what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
from telegram_service.dialogue.incoming import (
    Commanded,
    Incoming,
    Joined,
    Language,
    Left,
    Pressed,
    Said,
    Sent,
)
from telegram_service.dialogue.phrases import Phrase, forget_keyboard, settings_keyboard
from telegram_service.dialogue.refusal import Limit, Refusal
from telegram_service.dialogue.settings import UnknownButton, UserSettings, press

DEFAULT_SETTINGS = UserSettings()
MOST_DIGITS = 15
"""Of a number of somebody: they are below 2^52."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the sender."""

    settings: UserSettings = DEFAULT_SETTINGS
    is_allowed: bool = True
    is_banned: bool = False
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class House:
    """What holds for everybody."""

    retention_days: int


def language_for(standing: Standing, incoming: Incoming) -> Language:
    """In which the bot speaks to the sender."""
    return standing.settings.language or incoming.sender.language


def decide(
    standing: Standing, incoming: Incoming, house: House, refusal: Refusal | None = None
) -> list[Action]:
    """What is to be done, in order; nothing for somebody who is banned.

    Args:
        refusal: it is not worked on, and its sender is to be told why.
    """
    content = incoming.content
    if isinstance(content, Left | Joined):
        # Who puts the bot into a group, or out of it, has said nothing about writing to themselves.
        return [] if incoming.place.is_group else [MarkReachable(isinstance(content, Joined))]
    if refusal is not None:
        return _refused(standing, incoming, refusal)
    if standing.is_banned and not standing.is_admin:
        # An administrator who has shut out themselves can let themselves in again.
        return []
    if not standing.is_allowed and not _is_open(content):
        return _turned_away(incoming)
    return _admitted(standing, incoming, house)


def _admitted(standing: Standing, incoming: Incoming, house: House) -> list[Action]:
    content, language = incoming.content, language_for(standing, incoming)
    if isinstance(content, Pressed):
        return _pressed(standing, content, incoming.sender.language)
    if isinstance(content, Commanded):
        if content.name == "export" and incoming.place.is_group:
            return [Say(Phrase.PRIVATE_ONLY)]
        return _commanded(standing, content, language, house)
    assert isinstance(content, Said | Sent)
    return [Ask(content.text) if isinstance(content, Said) else AskAboutFile(content)]


def _turned_away(incoming: Incoming) -> list[Action]:
    if isinstance(incoming.content, Pressed):
        return [Acknowledge(incoming.content.query_id)]
    return [Say(Phrase.NOT_ALLOWED, {"user": incoming.sender.id})]


def _refused(standing: Standing, incoming: Incoming, refusal: Refusal) -> list[Action]:
    if standing.is_banned or not standing.is_allowed:
        return []
    said: dict[Limit, Action] = {
        Limit.MESSAGES: Say(Phrase.SLOW_DOWN, {"seconds": refusal.seconds}),
        Limit.OVERALL: Say(Phrase.TOO_MANY, {"seconds": refusal.seconds}),
        Limit.TOKENS: Say(Phrase.USED_UP, {"hours": max(1, round(refusal.seconds / 3600))}),
    }
    pressed = incoming.content
    seen: list[Action] = [Acknowledge(pressed.query_id)] if isinstance(pressed, Pressed) else []
    return [*seen, said[refusal.limit]]


def _is_open(content: object) -> bool:
    """Their own data belongs to everybody, whoever may use the bot."""
    open_commands = {"privacy", "export", "forget"}
    if isinstance(content, Commanded):
        return content.name in open_commands
    return isinstance(content, Pressed) and content.data.startswith("forget:")


def _commanded(standing: Standing, command: Commanded, language: Language, house: House) -> list[Action]:
    days = {"days": house.retention_days}
    simple: Mapping[str, Callable[[], list[Action]]] = {
        "start": lambda: [Say(Phrase.WELCOME, days)],
        "help": lambda: [Say(Phrase.HELP), *([Say(Phrase.HELP_ADMIN)] if standing.is_admin else [])],
        "privacy": lambda: [Say(Phrase.PRIVACY, days)],
        "settings": lambda: [Say(Phrase.SETTINGS, keyboard=settings_keyboard(standing.settings, language))],
        "models": lambda: [OfferModels()],
        "status": lambda: [Status()],
        "reset": lambda: [Stop(), Reset(), Say(Phrase.RESET)],
        "stop": lambda: [Stop(tell=True)],
        "retry": lambda: [AskAgain()],
        "export": lambda: [Export()],
        "forget": lambda: [Say(Phrase.FORGET_ASK, keyboard=forget_keyboard(language))],
        "switch": lambda: [Switch(command.argument)] if command.argument else [OfferModels()],
    }
    if command.name in simple:
        return simple[command.name]()
    if command.name in {"stats", "ban", "unban", "broadcast"}:
        return [_administered(command)] if standing.is_admin else [Say(Phrase.ADMINS_ONLY)]
    return [Say(Phrase.UNKNOWN_COMMAND)]


def _administered(command: Commanded) -> Action:
    if command.name == "stats":
        return Stats()
    if command.name == "broadcast":
        return DraftBroadcast(command.argument) if command.argument else Say(Phrase.BROADCAST_USAGE)
    if command.argument.isascii() and command.argument.isdecimal() and len(command.argument) <= MOST_DIGITS:
        return Ban(int(command.argument), command.name == "ban")
    return Say(Phrase.BAN_USAGE, {"command": command.name})


def _pressed(standing: Standing, pressed: Pressed, native: Language) -> list[Action]:
    """``native`` is what their Telegram speaks."""
    deeds = _behind_button(standing, pressed, native)
    if deeds is None:
        return [Acknowledge(pressed.query_id, Phrase.OLD_BUTTON)]
    return [Acknowledge(pressed.query_id), *deeds]


def _behind_button(standing: Standing, pressed: Pressed, native: Language) -> list[Action] | None:
    """None: a button that this bot never made, or no longer makes, or not for them."""
    name, _, value = pressed.data.partition(":")
    here = pressed.message_id
    match name, value:
        case "forget", "no":
            return [Show(here, Phrase.KEPT)]
        case "forget", "yes":
            # Whoever is just answering them loses the lane; others in a group are not disturbed.
            return [Forget(), Show(here, Phrase.FORGOTTEN)]
        case ("models", "show") | ("model", str()) if value:
            return [OfferModels(here) if name == "models" else Switch(value, here)]
        case "broadcast", value if standing.is_admin:
            return _broadcast(value, here)
    try:
        settings = press(standing.settings, pressed.data)
    except UnknownButton:
        return None
    spoken = settings.language or native
    return [Save(settings), Show(here, Phrase.SETTINGS, settings_keyboard(settings, spoken), spoken)]


def _broadcast(value: str, message_id: int) -> list[Action] | None:
    what, _, number = value.partition(":")
    if not number.isascii() or not number.isdecimal() or len(number) > MOST_DIGITS:
        return None
    match what:
        case "go":
            return [StartBroadcast(int(number), message_id)]
        case "stop":
            return [StopBroadcast(int(number), message_id)]
        case _:
            return None
