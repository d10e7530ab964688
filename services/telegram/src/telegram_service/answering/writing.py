"""Lets the AI core write an answer, and shows it while it is being written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.errors import Unreachable
from servicekit.ai_core.requests import Answer, ChatRequest, Delta
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Entry, Part, PartState
from telegram_service.answering.delivering import Deliverer
from telegram_service.answering.heeding import Ear, Stopped
from telegram_service.dialogue.incoming import Place
from telegram_service.formatting.markdown import read_markdown
from telegram_service.formatting.messages import to_messages
from telegram_service.messenger.port import Messenger, MessengerError, NotSent, Outgoing, TooSoon

TYPING_SECONDS = 4.5
SHOW_SECONDS = 0.5
"""So often it is asked whether what there is may be shown: asking is a call to Redis."""
GRACE_SECONDS = 5.0
"""For the AI core to say itself that it takes too long."""
FIRST_SHOW_SECONDS = 0.5
"""An answer that is complete sooner is sent once, as it is."""
FIRST_TYPING_SECONDS = 0.3
"""Before that, nobody needs to be told that somebody writes."""
MORE_TO_COME = " …"
CHARACTERS_PER_TOKEN = 4
"""About so many, in the languages that are spoken here."""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, as far as it came."""

    text: str
    model: str
    stopped: bool
    """Somebody did not want the rest."""
    tokens: int
    """Read and written by the model."""


class Writer:
    """One for all lanes."""

    def __init__(
        self,
        ai_core: AiCore,
        messenger: Messenger,
        deliverer: Deliverer,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_first_text: Callable[[Entry], None] = lambda _entry: None,
    ) -> None:
        """``on_first_text`` is called whenever an answer's message has come into the chat."""
        self._ai_core = ai_core
        self._messenger = messenger
        self._deliverer = deliverer
        self._clock = clock
        self._on_first_text = on_first_text

    async def write(
        self,
        lane: HeldLane,
        entry: Entry,
        place: Place,
        request: ChatRequest,
        *,
        shown: bool,
        patience: float | None = None,
    ) -> Written:
        """The answer to a request.

        Args:
            shown: while it is written, as the entry's first part; else only when it is complete.
            patience: seconds that it may take; None: as long as it likes.

        Raises:
            AiCoreError: as ``AiCore.chat``.
            LaneLost, StorageUnavailable: as the journal.
        """
        ear, pieces = Ear(lane, entry), list[str]()
        page = _Page(lane, place, entry) if shown else None
        try:
            async with asyncio.timeout(None if patience is None else patience + GRACE_SECONDS):
                stream = self._ai_core.chat(request, patience=patience)
                async with ear.listening(), self.typing(place), aclosing(stream):
                    return await self._follow(stream, ear, page, pieces)
        except Stopped:
            text = "".join(pieces)
            tokens = _guess(request, text) if text else 0
            return Written(text, request.model or "", stopped=True, tokens=tokens)
        except TimeoutError:
            raise Unreachable("the AI core takes longer than it was told to") from None

    async def note(self, lane: HeldLane, entry: Entry, place: Place, outgoing: Outgoing) -> None:
        """Show something where the answer will be, if Telegram takes a call just now."""
        if await self._deliverer.may_edit(place.chat_id):
            await self._show(_Page(lane, place, entry), outgoing)

    async def _follow(
        self, stream: AsyncGenerator[Delta | Answer], ear: Ear, page: _Page | None, pieces: list[str]
    ) -> Written:
        """The whole answer; ``pieces`` is what there is of it until then. Raises Stopped."""
        shown_at = self._clock() + FIRST_SHOW_SECONDS - SHOW_SECONDS
        async for item in stream:
            if isinstance(item, Answer):
                tokens = item.usage.prompt_tokens + item.usage.completion_tokens
                return Written(item.response, item.model, stopped=False, tokens=tokens)
            pieces.append(item.text)
            now = self._clock()
            if page is None or now - shown_at < SHOW_SECONDS:
                continue
            shown_at = now
            if not await self._deliverer.may_edit(page.place.chat_id):
                continue
            async with ear.undisturbed:
                await ear.look()
                text = "".join(pieces) + MORE_TO_COME
                await self._show(page, Outgoing(to_messages(read_markdown(text))[0]))
            if page.is_out:
                self._on_first_text(page.entry)
        raise AssertionError("the client ends with an answer or an error")

    async def _show(self, page: _Page, outgoing: Outgoing) -> None:
        """What there is by now. Whatever goes wrong here, the complete answer comes later."""
        part = page.part or await page.lane.open_part(page.entry)
        try:
            if part.state is PartState.STREAMING:
                await self._messenger.edit(page.place, int(part.external_id), outgoing)
            else:
                outbox = self._deliverer.outbox
                part = await outbox.send(page.lane, part, page.place, outgoing, complete=False)
        except (TooSoon, NotSent) as error:
            if isinstance(error, TooSoon):
                await self._deliverer.note(page.place.chat_id, error)
            if part.state is not PartState.STREAMING:
                part = await page.lane.unsent(part)
        except MessengerError:
            if part.state is not PartState.STREAMING:
                # Nobody knows whether it arrived: it is sent anew, and that is counted.
                part = replace(part, state=PartState.SENDING)
        page.part = part

    @asynccontextmanager
    async def typing(self, place: Place) -> AsyncIterator[None]:
        """Show that somebody is at work, as long as the context lasts."""

        async def keep_typing() -> None:
            await asyncio.sleep(FIRST_TYPING_SECONDS)
            while True:
                # A call before a penalty is over makes it longer, also for the answer.
                wait = await self._deliverer.busy_for(place.chat_id)
                if wait == 0:
                    await self._type(place)
                await asyncio.sleep(wait or TYPING_SECONDS)

        typing = asyncio.create_task(keep_typing())
        try:
            yield
        finally:
            typing.cancel()
            await asyncio.wait({typing})

    async def _type(self, place: Place) -> None:
        try:
            await self._messenger.typing(place)
        except TooSoon as error:
            await self._deliverer.note(place.chat_id, error)
        except MessengerError:
            pass


def _guess(request: ChatRequest, text: str) -> int:
    """What an answer has cost whose end nobody waited for, and which was therefore never counted."""
    read = sum(len(message.content) for message in request.messages)
    return (read + len(text)) // CHARACTERS_PER_TOKEN


@dataclass(slots=True)
class _Page:
    """Where an answer is shown while it is written."""

    lane: HeldLane
    place: Place
    entry: Entry
    part: Part | None = None
    """None: nothing was shown yet by this process."""

    @property
    def is_out(self) -> bool:
        """Whether its message is in the chat."""
        return self.part is not None and self.part.state is PartState.STREAMING
