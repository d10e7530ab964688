"""What somebody sent, as a question for the model: fetched, and read or heard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servicekit.ai_core import errors as ai_core_errors
from servicekit.ai_core.client import AiCore
from servicekit.documents.port import Document, DocumentRefused, Extractor, ExtractorUnavailable, Refusal
from telegram_service.dialogue.documents import framed
from telegram_service.dialogue.history import Turn
from telegram_service.dialogue.incoming import Language, Sent
from telegram_service.dialogue.phrases import Phrase, phrase
from telegram_service.messenger.port import Messenger, MessengerError, NotSent, TooSoon, Unknown

AT_ONCE = 4
"""Files in memory at the same time; the next ones wait."""
_PHRASES: Mapping[Refusal, Phrase] = {
    Refusal.TOO_LARGE: Phrase.FILE_TOO_MUCH,
    Refusal.TOO_MANY_PAGES: Phrase.FILE_TOO_MUCH,
    Refusal.TIMED_OUT: Phrase.FILE_TOO_MUCH,
    Refusal.ENCRYPTED: Phrase.FILE_ENCRYPTED,
    Refusal.UNREADABLE: Phrase.FILE_UNREADABLE,
    Refusal.UNSUPPORTED: Phrase.NO_FILES,
    Refusal.NOT_INSTALLED: Phrase.FILE_NOT_INSTALLED,
    Refusal.EMPTY: Phrase.FILE_EMPTY,
}


class CannotRead(Exception):
    """There will be no question from this; the phrase says why."""

    def __init__(self, phrase: Phrase, **values: object) -> None:
        super().__init__(phrase.value)
        self.phrase = phrase
        self.values: dict[str, Any] = values


class NotNow(Exception):
    """Trying again may help.

    Attributes:
        seconds: after which, at the earliest.
        reason: for the operator.
    """

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Files:
    """One for all lanes."""

    messenger: Messenger
    extractor: Extractor
    ai_core: AiCore
    most_bytes: int
    """Of a file; Telegram gives bots none above 20 MB."""
    most_characters: int
    """Of a document's text, its heading included."""
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def question(self, sent: Sent, language: Language) -> Turn:
        """The question that it is, still without an answer. Raises CannotRead, NotNow."""
        if sent.kind not in {"document", "photo", "voice"}:
            raise CannotRead(Phrase.NO_FILES)
        if sent.size > self.most_bytes:
            raise self._too_large()
        async with self._slots:
            data = await self._fetch(sent)
            if sent.kind == "voice":
                return Turn(await self._heard(data, sent), "")
            document = await self._read(data, sent)
        text = framed(
            sent.kind,
            sent.name,
            document.text,
            language,
            most_characters=self.most_characters,
            cut=document.cut,
        )
        default = Phrase.ABOUT_PICTURE if sent.kind == "photo" else Phrase.ABOUT_DOCUMENT
        return Turn(sent.caption.strip() or phrase(default, language), "", text)

    async def _fetch(self, sent: Sent) -> bytes:
        try:
            data = await self.messenger.download(sent.file_id, self.most_bytes)
        except TooSoon as error:
            raise NotNow("Telegram's limits", error.seconds) from error
        except (NotSent, Unknown) as error:
            raise NotNow("Telegram gave no file") from error
        except MessengerError as error:
            raise CannotRead(Phrase.FILE_GONE) from error
        if len(data) > self.most_bytes:
            raise self._too_large()
        return data

    async def _read(self, data: bytes, sent: Sent) -> Document:
        try:
            return await self.extractor.extract(data, name=sent.name)
        except DocumentRefused as error:
            raise CannotRead(_PHRASES[error.refusal]) from error
        except ExtractorUnavailable as error:
            raise NotNow("documents cannot be read just now") from error

    async def _heard(self, data: bytes, sent: Sent) -> str:
        try:
            said = await self.ai_core.transcribe(data)
        except (ai_core_errors.Busy, ai_core_errors.Unreachable, ai_core_errors.Failed) as error:
            raise NotNow(type(error).__name__, getattr(error, "retry_after", None) or 0.0) from error
        except ai_core_errors.AiCoreError as error:
            # There is no speech model, or none for this recording or this key.
            raise CannotRead(Phrase.NO_VOICE) from error
        if not said.strip():
            raise CannotRead(Phrase.VOICE_UNCLEAR)
        return "\n\n".join(filter(None, [sent.caption.strip(), said.strip()]))

    def _too_large(self) -> CannotRead:
        return CannotRead(Phrase.FILE_TOO_LARGE, megabytes=max(1, self.most_bytes // 1_000_000))
