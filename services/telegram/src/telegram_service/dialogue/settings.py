"""What people may set, and the buttons with which they do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from telegram_service.dialogue.incoming import Language


class Length(StrEnum):
    """Of answers."""

    SHORT = "short"
    NORMAL = "normal"
    LONG = "long"


class Creativity(StrEnum):
    """How freely the model chooses its words."""

    PRECISE = "precise"
    BALANCED = "balanced"
    CREATIVE = "creative"


MAX_TOKENS = {Length.SHORT: 256, Length.NORMAL: 768, Length.LONG: 2048}
TEMPERATURE = {Creativity.PRECISE: 0.2, Creativity.BALANCED: 0.7, Creativity.CREATIVE: 1.0}


@dataclass(frozen=True, slots=True)
class UserSettings:
    """One person's choices; None: the service's default."""

    model: str | None = None
    language: Language | None = None
    """Of answers and of what the bot says; None: as their Telegram speaks."""
    length: Length = Length.NORMAL
    creativity: Creativity = Creativity.BALANCED
    streaming: bool = True


@dataclass(frozen=True, slots=True)
class Button:
    """Of an inline keyboard. ``data`` comes back when it is pressed: 1 to 64 bytes."""

    text: str
    data: str


Keyboard = tuple[tuple[Button, ...], ...]
SEPARATOR = ":"


class UnknownButton(Exception):
    """The data of a button that this bot never made, or of one that it no longer makes."""


def press(settings: UserSettings, data: str) -> UserSettings:
    """The settings after a button of the settings keyboard. Raises UnknownButton."""
    name, _, value = data.partition(SEPARATOR)
    try:
        match name:
            case "length":
                return replace(settings, length=Length(value))
            case "creativity":
                return replace(settings, creativity=Creativity(value))
            case "language":
                return replace(settings, language=Language(value) if value else None)
            case "streaming":
                return replace(settings, streaming={"on": True, "off": False}[value])
            case _:
                raise UnknownButton(name)
    except (ValueError, KeyError):
        raise UnknownButton(name) from None
