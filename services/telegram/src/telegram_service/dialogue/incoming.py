"""What came in, without Telegram's wire format."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Language(StrEnum):
    """Of what the bot itself says."""

    FRENCH = "fr"
    ENGLISH = "en"


def language_of(code: str | None) -> Language:
    """The language for somebody whose Telegram speaks this one (IETF tag). French is the house's own."""
    return Language.FRENCH if not code or code.lower().split("-")[0] == "fr" else Language.ENGLISH


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation takes place: a chat, and in a forum the topic."""

    chat_id: int
    thread_id: int | None = None
    is_group: bool = False
    is_forum: bool = field(default=False, compare=False)
    """Whether the chat has topics; without ``thread_id`` it is then the general one."""

    @property
    def lane(self) -> str:
        """Its lane in the journal."""
        return f"{self.chat_id}" if self.thread_id is None else f"{self.chat_id}:{self.thread_id}"

    @property
    def control_lane(self) -> str:
        """The lane of what must not wait behind an answer."""
        return f"{self.lane}!"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote or pressed."""

    id: int
    language: Language


@dataclass(frozen=True, slots=True)
class Said:
    """A message with text."""

    text: str
    message_id: int
    sent_at: int = 0
    """Unix time in seconds, as Telegram says."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command such as ``/switch small``; the name in lower case, without the slash."""

    name: str
    argument: str
    message_id: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button of a message of ours."""

    query_id: str
    message_id: int
    data: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A file. ``caption`` is what was written with it."""

    kind: str
    """``document``, ``photo`` or ``voice``; ``other``, with nothing else known: what is never read."""
    file_id: str
    name: str
    size: int
    """Bytes, as Telegram says."""
    caption: str
    message_id: int


@dataclass(frozen=True, slots=True)
class Left:
    """The bot was blocked, or put out of a group."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The bot is wanted (again)."""


Content = Said | Commanded | Pressed | Sent | Left | Joined


@dataclass(frozen=True, slots=True)
class Incoming:
    """One update that concerns us."""

    update_id: int
    place: Place
    sender: Sender
    content: Content

    @property
    def is_control(self) -> bool:
        """Whether it goes past what waits: it stops an answer, or has nothing to do with answers."""
        match self.content:
            case Commanded(name=name):
                return name != "retry"
            case Said() | Sent():
                return False
            case _:
                return True
