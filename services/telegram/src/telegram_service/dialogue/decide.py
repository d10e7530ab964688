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
    Export,
    Forget,
    MarkReachable,
    OfferModels,
    Reset,
    Save,
    Say,
    Show,
    Stats,
    Status,
    Stop,
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
)
from telegram_service.dialogue.phrases import Phrase, forget_keyboard, settings_keyboard
from telegram_service.dialogue.refusal import Limit, Refusal
from telegram_service.dialogue.settings import UnknownButton, UserSettings, press

DEFAULT_SETTINGS = UserSettings()


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
        return [MarkReachable(isinstance(content, Joined))]
    if refusal is not None or standing.is_banned:
        return [] if refusal is None else _refused(standing, incoming, refusal)
    if not standing.is_allowed and not _is_open(content):
        return _turned_away(incoming)
    language = language_for(standing, incoming)
    if isinstance(content, Pressed):
        return _pressed(standing, content, language)
    if isinstance(content, Commanded):
        return _commanded(standing, content, language, house)
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
        "help": lambda: [Say(Phrase.HELP)],
        "privacy": lambda: [Say(Phrase.PRIVACY, days)],
        "settings": lambda: [Say(Phrase.SETTINGS, keyboard=settings_keyboard(standing.settings, language))],
        "models": lambda: [OfferModels()],
        "status": lambda: [Status()],
        "reset": lambda: [Stop(), Reset(), Say(Phrase.RESET)],
        "stop": lambda: [Stop()],
        "retry": lambda: [AskAgain()],
        "export": lambda: [Export()],
        "forget": lambda: [Say(Phrase.FORGET_ASK, keyboard=forget_keyboard(language))],
        "switch": lambda: [Switch(command.argument)] if command.argument else [OfferModels()],
    }
    if command.name in simple:
        return simple[command.name]()
    if command.name in {"stats", "ban", "unban"}:
        return _administered(command) if standing.is_admin else [Say(Phrase.ADMINS_ONLY)]
    return [Say(Phrase.UNKNOWN_COMMAND)]


def _administered(command: Commanded) -> list[Action]:
    if command.name == "stats":
        return [Stats()]
    if command.argument.isdecimal():
        return [Ban(int(command.argument), command.name == "ban")]
    return [Say(Phrase.UNKNOWN_COMMAND)]


def _pressed(standing: Standing, pressed: Pressed, language: Language) -> list[Action]:
    name, _, value = pressed.data.partition(":")
    if name == "forget" and value in {"yes", "no"}:
        known: list[Action] = [Acknowledge(pressed.query_id)]
        if value == "no":
            return [*known, Show(pressed.message_id, Phrase.KEPT)]
        return [*known, Stop(), Show(pressed.message_id, Phrase.FORGOTTEN), Forget()]
    if name == "model" and value:
        return [Acknowledge(pressed.query_id), Switch(value)]
    try:
        settings = press(standing.settings, pressed.data)
    except UnknownButton:
        return [Acknowledge(pressed.query_id, Phrase.OLD_BUTTON)]
    spoken = settings.language or language
    keyboard = settings_keyboard(settings, spoken)
    return [
        Save(settings),
        Acknowledge(pressed.query_id),
        Show(pressed.message_id, Phrase.SETTINGS, keyboard),
    ]
