"""The port: what may be done in chats, and how it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from telegram_service.dialogue.incoming import Place
from telegram_service.dialogue.settings import Keyboard
from telegram_service.formatting.messages import TelegramMessage


class MessengerError(Exception):
    """Base of them all; the text holds nothing that people wrote."""


class TooSoon(MessengerError):
    """Telegram wants fewer calls in this chat, or at all.

    Attributes:
        seconds: after which the next call may be made; every call before that makes it longer.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Telegram asks for {seconds:.0f} s of silence")
        self.seconds = seconds


class NotSent(MessengerError):
    """The call never left: it may be repeated without a trace."""


class Unknown(MessengerError):
    """The call went out, and nobody knows whether it was carried out."""


class Unreachable(MessengerError):
    """Who should read it has blocked the bot, or the chat is gone."""


class Moved(MessengerError):
    """The chat has another id now."""

    def __init__(self, chat_id: int) -> None:
        super().__init__("the chat has moved")
        self.chat_id = chat_id


class FormatRefused(MessengerError):
    """Telegram does not take these entities: the plain text may go out instead."""


class MessageGone(MessengerError):
    """The message to be changed is not there any more, or may not be changed."""


class Refused(MessengerError):
    """Telegram will never take this."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as it is shown."""

    message: TelegramMessage
    keyboard: Keyboard | None = None
    file: str = ""
    """A document of this name goes out instead, with all that is kept about the reader. It is made as it goes
    out, and stored nowhere; the message is for when Telegram does not take it."""


class Messenger(Protocol):
    """Each call is made once. All raise MessengerError."""

    async def send(self, place: Place, outgoing: Outgoing) -> int:
        """Show a message; its id in the chat."""

    async def send_file(self, place: Place, name: str, content: bytes) -> int:
        """Send a document; the id of its message."""

    async def edit(self, place: Place, message_id: int, outgoing: Outgoing) -> None:
        """Show something else in the place of a message of ours. The same again is fine."""

    async def typing(self, place: Place) -> None:
        """Show for about five seconds that somebody writes."""

    async def acknowledge(self, query_id: str, hint: str = "") -> None:
        """A button was understood. One that is too old is fine."""

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file that somebody sent. Raises Refused if it is larger."""
