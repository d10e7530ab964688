"""What is to be done about what came in; done by others, in this order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from telegram_service.dialogue.incoming import Language, Sent
from telegram_service.dialogue.phrases import Phrase
from telegram_service.dialogue.settings import Keyboard, UserSettings


@dataclass(frozen=True, slots=True)
class Say:
    """A text of the bot's own."""

    phrase: Phrase
    values: dict[str, Any] = field(default_factory=dict)
    keyboard: Keyboard | None = None


@dataclass(frozen=True, slots=True)
class Show:
    """A text of the bot's own in the place of a message of ours that has buttons."""

    message_id: int
    phrase: Phrase
    keyboard: Keyboard | None = None
    language: Language | None = None
    """None: the one that the sender is spoken to in."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell Telegram that a button was understood; with a phrase, a hint pops up."""

    query_id: str
    phrase: Phrase | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the model answer."""

    question: str


@dataclass(frozen=True, slots=True)
class AskAboutFile:
    """Let the model answer, with a file's text or picture."""

    sent: Sent


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Let the model answer the last question anew."""


@dataclass(frozen=True, slots=True)
class Save:
    """Keep these settings."""

    settings: UserSettings


@dataclass(frozen=True, slots=True)
class Switch:
    """Use another model, if there is one of this name."""

    model: str
    message_id: int | None = None
    """The message whose button was pressed: it tells the result."""


@dataclass(frozen=True, slots=True)
class OfferModels:
    """List the models with buttons."""

    message_id: int | None = None
    """The message whose button was pressed: it makes room for them."""


@dataclass(frozen=True, slots=True)
class Status:
    """Tell how the service is doing."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the conversation; the next message begins a new one."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the answer that is being written."""

    tell: bool = False
    """Say so where there is none."""


@dataclass(frozen=True, slots=True)
class Export:
    """Send all that is kept about the sender."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete all that is kept about the sender."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Tell an administrator how the service is used."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Shut somebody out, or let them in again."""

    user_id: int
    banned: bool


@dataclass(frozen=True, slots=True)
class DraftBroadcast:
    """Show an administrator what everybody would get, and ask whether it is to go out."""

    text: str


@dataclass(frozen=True, slots=True)
class StartBroadcast:
    """Send a draft to everybody."""

    number: int
    message_id: int


@dataclass(frozen=True, slots=True)
class StopBroadcast:
    """Throw a draft away, or send a broadcast to nobody else."""

    number: int
    message_id: int


@dataclass(frozen=True, slots=True)
class MarkReachable:
    """Remember whether this chat takes messages."""

    reachable: bool


Question = Ask | AskAboutFile | AskAgain
"""What the model answers."""
AdminDeed = Stats | Ban | DraftBroadcast | StartBroadcast | StopBroadcast
"""What only administrators may have done."""
Deed = (
    Say
    | Show
    | Acknowledge
    | Save
    | Switch
    | OfferModels
    | Status
    | Reset
    | Stop
    | Export
    | Forget
    | MarkReachable
    | AdminDeed
)
"""What the bot does by itself."""
Action = Question | Deed
