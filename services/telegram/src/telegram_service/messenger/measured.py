"""A messenger whose calls are counted by what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from telegram.error import Conflict, TelegramError

from telegram_service.dialogue.incoming import Place
from telegram_service.messenger.bot_api import meaning_of
from telegram_service.messenger.port import (
    FormatRefused,
    MessageGone,
    Messenger,
    MessengerError,
    Moved,
    NotSent,
    Outgoing,
    Refused,
    TooSoon,
    Unknown,
    Unreachable,
)
from telegram_service.metrics import Metrics

_OUTCOMES: dict[type[MessengerError], str] = {
    TooSoon: "too_many_requests",
    NotSent: "not_sent",
    Unknown: "unknown",
    Unreachable: "unreachable",
    Moved: "moved",
    FormatRefused: "format_refused",
    MessageGone: "message_gone",
    Refused: "refused",
}


def outcome_of(error: TelegramError) -> str:
    """What became of a call that is made beside a messenger, in the same words."""
    if isinstance(error, Conflict):
        return "conflict"
    return _OUTCOMES.get(type(meaning_of(error)), "other")


class MeasuredMessenger:
    """Implements :class:`.port.Messenger` over another one."""

    def __init__(self, messenger: Messenger, metrics: Metrics) -> None:
        self._messenger = messenger
        self._metrics = metrics

    async def send(self, place: Place, outgoing: Outgoing) -> int:
        with self._counted("send"):
            return await self._messenger.send(place, outgoing)

    async def send_file(self, place: Place, name: str, content: bytes) -> int:
        with self._counted("send_file"):
            return await self._messenger.send_file(place, name, content)

    async def edit(self, place: Place, message_id: int, outgoing: Outgoing) -> None:
        with self._counted("edit"):
            await self._messenger.edit(place, message_id, outgoing)

    async def typing(self, place: Place) -> None:
        with self._counted("typing"):
            await self._messenger.typing(place)

    async def acknowledge(self, query_id: str, hint: str = "") -> None:
        with self._counted("acknowledge"):
            await self._messenger.acknowledge(query_id, hint)

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        with self._counted("download"):
            return await self._messenger.download(file_id, max_bytes)

    @contextmanager
    def _counted(self, call: str) -> Iterator[None]:
        try:
            yield
        except MessengerError as error:
            self._metrics.called(call, _OUTCOMES.get(type(error), "other"))
            raise
        self._metrics.called(call, "ok")
