"""From an update as Telegram sends it to what came in. Whatever is sent here, this never fails: what does
not concern the bot is None.

https://core.telegram.org/bots/api#update
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from telegram_service.dialogue.incoming import (
    Commanded,
    Content,
    Incoming,
    Joined,
    Left,
    Place,
    Pressed,
    Said,
    Sender,
    Sent,
    language_of,
)

GENERAL_TOPIC = 1
MAX_ID = 2**63 - 1
_GROUPS = {"group", "supergroup"}
_FILES = ("document", "voice", "audio")
OTHERS = (
    "animation",
    "video",
    "video_note",
    "sticker",
    "contact",
    "location",
    "venue",
    "poll",
    "dice",
    "story",
)
"""What people send and nobody reads; an animation has a document, too."""


def read_update(update: Mapping[str, Any], bot_id: int, bot_name: str) -> Incoming | None:
    """What came in; in groups, only what is said to the bot: a mention, a reply, a command.

    Args:
        bot_id: the bot's own user id.
        bot_name: its user name, without the ``@``.
    """
    try:
        return _Reader(bot_id, bot_name.lower()).read(update)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        # Not what Telegram documents: nobody we could answer.
        return None


def _number(value: Any) -> int:
    """An id. Raises ValueError, TypeError."""
    number = int(value)
    if abs(number) > MAX_ID:
        raise ValueError("ids have at most 64 bits")
    return number


class _Reader:
    def __init__(self, bot_id: int, bot_name: str) -> None:
        self._id = bot_id
        self._name = bot_name
        # By the letters of user names only: in lower case, other texts may be longer than they were.
        self._mention = re.compile(rf"(?<!\w)@{re.escape(bot_name)}(?!\w)", re.ASCII | re.IGNORECASE)

    def read(self, update: Mapping[str, Any]) -> Incoming | None:
        update_id = _number(update["update_id"])
        if "message" in update:
            message = update["message"]
            content = self._of_message(message)
            sender = message["from"]
        elif "callback_query" in update:
            query = update["callback_query"]
            message, sender = query["message"], query["from"]
            content = Pressed(str(query["id"]), _number(message["message_id"]), str(query.get("data", "")))
        elif "my_chat_member" in update:
            message = update["my_chat_member"]
            sender = message["from"]
            gone = message["new_chat_member"]["status"] in {"kicked", "left"}
            content = Left() if gone else Joined()
        else:
            return None
        if content is None or sender.get("is_bot", False):
            return None
        who = Sender(_number(sender["id"]), language_of(sender.get("language_code")))
        return Incoming(update_id, _place(message), who, content)

    def _of_message(self, message: Mapping[str, Any]) -> Content | None:
        message_id = _number(message["message_id"])
        text = message.get("text", message.get("caption", ""))
        in_group = message["chat"]["type"] in _GROUPS
        command = self._command(message, text)
        if command is not None:
            return Commanded(*command, message_id) if command[0] else None
        if in_group and not self._is_meant(message, text):
            return None
        spoken = self._without_mention(text) if in_group else text
        if (sent := _file(message)) is not None:
            return Sent(*sent, spoken, message_id)
        return Said(spoken, message_id, int(message.get("date", 0))) if spoken.strip() else None

    def _command(self, message: Mapping[str, Any], text: str) -> tuple[str, str] | None:
        """Name and argument; an empty name where another bot of the group is meant; None: no command."""
        first = next(iter(message.get("entities", ())), None)
        if first is None or first["type"] != "bot_command" or first["offset"] != 0:
            return None
        # A command has no characters that count twice in UTF-16.
        word, argument = text[: int(first["length"])], text[int(first["length"]) :]
        name, _, addressee = word[1:].partition("@")
        if addressee and addressee.lower() != self._name:
            return "", ""
        return name.lower(), argument.strip()

    def _is_meant(self, message: Mapping[str, Any], text: str) -> bool:
        replied = message.get("reply_to_message", {}).get("from", {}).get("id")
        return replied == self._id or self._mention.search(text) is not None

    def _without_mention(self, text: str) -> str:
        found = self._mention.search(text)
        return text if found is None else (text[: found.start()] + text[found.end() :]).strip()


def _place(message: Mapping[str, Any]) -> Place:
    chat = message["chat"]
    thread = message.get("message_thread_id") if message.get("is_topic_message") else None
    if thread == GENERAL_TOPIC:
        thread = None
    return Place(
        _number(chat["id"]),
        None if thread is None else _number(thread),
        is_group=chat["type"] in _GROUPS,
        is_forum=chat.get("is_forum") is True,
    )


def _file(message: Mapping[str, Any]) -> tuple[str, str, str, int] | None:
    """Kind, id, name and size."""
    if message.get("photo"):
        largest = max(message["photo"], key=lambda one: one.get("width", 0))
        return "photo", str(largest["file_id"]), "photo.jpg", int(largest.get("file_size", 0))
    if any(kind in message for kind in OTHERS):
        return "other", "", "", 0
    for kind in _FILES:
        if kind in message:
            file = message[kind]
            name = str(file.get("file_name", kind))
            shown = "voice" if kind in {"voice", "audio"} else "document"
            return shown, str(file["file_id"]), name, int(file.get("file_size", 0))
    return None
