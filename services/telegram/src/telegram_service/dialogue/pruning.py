"""What of an update is kept: what the bot reads, and no more. Names, portraits, and the words of others whose
message was replied to are never stored, so nobody has to search for them when somebody wants to be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telegram_service.dialogue.reading import OTHERS

_Shape = Mapping[str, Any]
"""Fields that are kept; ``None``: with all that is in them."""

_WHO: _Shape = {"id": None, "is_bot": None, "language_code": None}
_CHAT: _Shape = {"id": None, "type": None, "is_forum": None}
_FILE: _Shape = {"file_id": None, "file_name": None, "file_size": None, "width": None, "mime_type": None}
_BOT: _Shape = {"id": None, "is_bot": None}
"""Kept only of bots: whether this one was replied to has to be known, and which person was, has not."""
_NOTHING: _Shape = {}
"""That it is there, and nothing of what it says."""
_MESSAGE: _Shape = {
    "message_id": None,
    "date": None,
    "from": _WHO,
    "chat": _CHAT,
    "text": None,
    "caption": None,
    "entities": {"type": None, "offset": None, "length": None},
    "reply_to_message": {"from": _BOT},
    "message_thread_id": None,
    "is_topic_message": None,
    "media_group_id": None,
    "photo": _FILE,
    "document": _FILE,
    "voice": _FILE,
    "audio": _FILE,
    **dict.fromkeys(OTHERS, _NOTHING),
}
_UPDATE: _Shape = {
    "update_id": None,
    "message": _MESSAGE,
    "callback_query": {
        "id": None,
        "from": _WHO,
        "data": None,
        "message": {
            name: _MESSAGE[name] for name in ("message_id", "chat", "message_thread_id", "is_topic_message")
        },
    },
    "my_chat_member": {"chat": _CHAT, "from": _WHO, "new_chat_member": {"status": None}},
}


def pruned(update: Mapping[str, Any]) -> dict[str, Any]:
    """An update that ``read_update`` reads as it reads the whole one."""
    kept: dict[str, Any] = _pruned(update, _UPDATE)
    return kept


def _pruned(value: Any, shape: _Shape | None) -> Any:
    if shape is None:
        return value
    if isinstance(value, Mapping):
        if shape is _BOT and value.get("is_bot") is not True:
            return {}
        return {name: _pruned(value[name], inner) for name, inner in shape.items() if name in value}
    if isinstance(value, list | tuple):
        return [_pruned(each, shape) for each in value]
    return value
