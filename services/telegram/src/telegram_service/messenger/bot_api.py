"""The port over python-telegram-bot.

Calls are neither repeated nor held back here: who calls knows what a repetition would mean, and
``pacing`` knows when the next call may be made. https://core.telegram.org/bots/api
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import httpx
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    MessageEntity,
)
from telegram.constants import ChatAction
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)

from telegram_service.dialogue.incoming import Place
from telegram_service.dialogue.reading import GENERAL_TOPIC
from telegram_service.dialogue.settings import Keyboard
from telegram_service.formatting.document import Kind
from telegram_service.formatting.messages import TelegramMessage
from telegram_service.messenger.port import (
    FormatRefused,
    MessageGone,
    MessengerError,
    Moved,
    NotSent,
    Outgoing,
    Refused,
    TooSoon,
    Unknown,
    Unreachable,
)

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_NOBODY_THERE = (
    "chat not found",
    "user is deactivated",
    "thread not found",
    # The bot may read in a group, and not write.
    "not enough rights",
    "no rights to send",
    "chat_write_forbidden",
    "topic_closed",
)
"""In descriptions of refusals, in lower case."""


class BotApiMessenger:
    """Implements :class:`telegram_service.messenger.port.Messenger`."""

    def __init__(self, bot: Bot) -> None:
        """``bot`` is initialized and shut down by whoever made it."""
        self._bot = bot

    async def send(self, place: Place, outgoing: Outgoing) -> int:
        with _translated():
            sent = await self._bot.send_message(
                place.chat_id,
                outgoing.message.text,
                message_thread_id=place.thread_id,
                entities=_entities(outgoing.message),
                reply_markup=_markup(outgoing.keyboard),
                link_preview_options=_NO_PREVIEW,
            )
        return sent.message_id

    async def send_file(self, place: Place, name: str, content: bytes) -> int:
        with _translated():
            sent: Message = await self._bot.send_document(
                place.chat_id, content, filename=name, message_thread_id=place.thread_id
            )
        return sent.message_id

    async def edit(self, place: Place, message_id: int, outgoing: Outgoing) -> None:
        with _translated():
            try:
                await self._bot.edit_message_text(
                    outgoing.message.text,
                    place.chat_id,
                    message_id,
                    entities=_entities(outgoing.message),
                    reply_markup=_markup(outgoing.keyboard),
                    link_preview_options=_NO_PREVIEW,
                )
            except BadRequest as error:
                if "not modified" not in error.message:
                    raise

    async def typing(self, place: Place) -> None:
        # Unlike messages, which are refused with it, actions are seen in the general topic only with its id.
        thread_id = place.thread_id or (GENERAL_TOPIC if place.is_forum else None)
        with _translated():
            await self._bot.send_chat_action(place.chat_id, ChatAction.TYPING, message_thread_id=thread_id)

    async def acknowledge(self, query_id: str, hint: str = "") -> None:
        with _translated():
            try:
                await self._bot.answer_callback_query(query_id, hint or None)
            except BadRequest as error:
                if "query is too old" not in error.message.lower():
                    raise

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        with _translated():
            file = await self._bot.get_file(file_id)
        if (file.file_size or 0) > max_bytes:
            raise Refused("the file is too large")
        try:
            with _translated():
                return bytes(await file.download_as_bytearray())
        except (Refused, NotSent) as error:
            # The address was valid a moment ago; the next one may last longer.
            raise Unknown("the file's address is no longer valid") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TelegramError as error:
        raise meaning_of(error) from error


def meaning_of(error: TelegramError) -> MessengerError:
    """What a failure of python-telegram-bot means for whoever called."""
    match error:
        case RetryAfter():
            meaning: MessengerError = TooSoon(_seconds(error))
        case ChatMigrated():
            meaning = Moved(error.new_chat_id)
        case BadRequest():
            meaning = _refusal(error.message)
        case Forbidden():
            meaning = Unreachable("the bot was blocked or put out")
        case InvalidToken():
            # It stands before every call, so nothing was carried out; the operator may mend it.
            meaning = NotSent("Telegram does not know TELEGRAM_BOT_TOKEN")
        case NetworkError() if isinstance(error.__cause__, _NEVER_LEFT):
            meaning = NotSent("Telegram cannot be reached")
        case _:
            meaning = Unknown("the answer was lost")
    return meaning


def _seconds(error: RetryAfter) -> float:
    # A number or a timedelta: the library is changing it, and PTB_TIMEDELTA says which.
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, timedelta) else float(wait)


def _refusal(description: str) -> MessengerError:
    words = description.lower()
    if any(gone in words for gone in _NOBODY_THERE):
        return Unreachable(description)
    if "parse entities" in words or "entity" in words or "entities" in words:
        return FormatRefused(description)
    if "to edit not found" in words or "can't be edited" in words:
        return MessageGone(description)
    return Refused(description)


def _entities(message: TelegramMessage) -> Sequence[MessageEntity]:
    return [
        MessageEntity(
            entity.style.kind.value,
            entity.offset,
            entity.length,
            url=entity.style.argument if entity.style.kind is Kind.LINK else None,
            language=(entity.style.argument or None) if entity.style.kind is Kind.PRE else None,
        )
        for entity in message.entities
    ]


def _markup(keyboard: Keyboard | None) -> InlineKeyboardMarkup | None:
    if keyboard is None:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(button.text, callback_data=button.data) for button in row] for row in keyboard]
    )
