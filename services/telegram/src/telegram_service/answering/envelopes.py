"""Updates and answers as the journal keeps them: sealed bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from servicekit.storage.sealing import Seal
from telegram_service.dialogue.refusal import Refusal
from telegram_service.messenger.port import Outgoing
from telegram_service.storage.resealing import ANSWERS, UPDATES

_REFUSED = "refused"
"""Beside the update where there is one; Telegram has no such field."""


class Envelopes:
    """Closes and opens them; a value of one kind cannot be put in the place of one of the other.

    Opening raises ``servicekit.storage.sealing.Unreadable``.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def close_update(self, update: dict[str, Any], refusal: Refusal | None = None) -> bytes:
        """An update as Telegram sent it; with a refusal, where it was decided that it is not worked on."""
        fields = {name: value for name, value in update.items() if name != _REFUSED}
        if refusal is not None:
            fields[_REFUSED] = refusal
        return self._seal.close(msgspec.json.encode(fields), UPDATES)

    def open_update(self, payload: bytes) -> dict[str, Any]:
        """The update again."""
        return msgspec.json.decode(self._seal.open(payload, UPDATES), type=dict[str, Any])

    def refusal_in(self, update: dict[str, Any]) -> Refusal | None:
        """Of an update that was opened."""
        return msgspec.convert(update[_REFUSED], Refusal) if _REFUSED in update else None

    def close_answer(self, outgoing: Outgoing) -> bytes:
        """A message that is to go out."""
        return self._seal.close(msgspec.json.encode(outgoing), ANSWERS)

    def open_answer(self, content: bytes) -> Outgoing:
        """The message again."""
        return msgspec.json.decode(self._seal.open(content, ANSWERS), type=Outgoing)
