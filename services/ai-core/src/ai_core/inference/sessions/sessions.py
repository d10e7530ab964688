"""The next turn of a conversation: what the model reads, and what is kept of it afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import msgspec

from ai_core.engine.messages import ChatMessage
from ai_core.errors import InvalidRequest, SessionNotFound, StoreUnavailable
from ai_core.inference.generation import Generation
from ai_core.inference.requests import REST_OF_CONTEXT, Completion, GenerationRequest
from ai_core.inference.sessions.archive import Archive, Found, SessionFacts
from ai_core.inference.sessions.conversation import Conversation
from ai_core.inference.sessions.lease import Leases

RECORD_ATTEMPTS = 5
KEPT_ENDS = frozenset({"stop", "length", "tool_calls"})
"""Answers that ended otherwise are not whole."""

Answering = Callable[[GenerationRequest], AbstractAsyncContextManager[Generation]]
"""Answers one request that brings all of its messages along."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a turn may take."""

    context_length: Callable[[], int]
    """Of the model, in tokens of conversation and answer together; 0 while nobody knows."""
    patience: float
    """Seconds to wait: for the turns before it, and for its own."""


class Sessions:
    """All conversations. Each belongs to one API key; other keys cannot tell that it exists."""

    def __init__(self, archive: Archive, *, max_turns: int, clock: Callable[[], float] = time.time) -> None:
        """``max_turns``: the most that are kept; ``clock`` in seconds since 1970."""
        self._archive = archive
        self._leases = Leases(archive.store)
        self._max_turns = max_turns
        self._clock = clock

    @asynccontextmanager
    async def answer(
        self, request: GenerationRequest, answering: Answering, room: Room
    ) -> AsyncIterator[Generation]:
        """The next turn of the request's session, answered by ``answering``. It is kept when the answer is
        whole, before anybody is told so.

        Raises:
            SessionBusy, StoreUnavailable: on entering; StoreUnavailable at the end of the answer, too.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + room.patience
        async with AsyncExitStack() as stack:
            turn = await stack.enter_async_context(
                self.turn(request.key_id, request.session_id or "", request.messages or [], room.patience)
            )
            max_tokens = REST_OF_CONTEXT if request.max_tokens is None else request.max_tokens
            turn.fit(room.context_length(), max_tokens)
            generation: Generation | None = None
            while generation is None:
                try:
                    left = max(0.0, deadline - loop.time())
                    opened = answering(replace(request, messages=turn.messages, timeout=left))
                    generation = await stack.enter_async_context(opened)
                except InvalidRequest as error:
                    # The estimate was too low: only the engine can count tokens.
                    if error.code != "context_length_exceeded" or not turn.shorten():
                        raise

            async def record(completion: Completion) -> None:
                turn.note_context(room.context_length())
                await turn.record(completion)

            generation.before_end = record
            yield generation

    @asynccontextmanager
    async def turn(
        self, key_id: str, session_id: str, new: Sequence[ChatMessage], patience: float
    ) -> AsyncIterator[NextTurn]:
        """What is said next, alone: whoever comes meanwhile waits, up to ``patience`` seconds.

        Raises:
            SessionBusy, StoreUnavailable: on entering.
        """
        async with self._leases.hold("lease:" + self._archive.place(key_id, session_id), patience):
            found = await self._archive.find(key_id, session_id)
            yield NextTurn(
                self._archive, key_id, session_id, new, found, max_turns=self._max_turns, clock=self._clock
            )

    async def read(self, key_id: str, session_id: str) -> tuple[Conversation, float]:
        """A conversation, and when it will be gone if nothing is said (seconds since 1970).

        Raises:
            SessionNotFound, StoreUnavailable: as the names say.
        """
        conversation = (await self._archive.find(key_id, session_id)).conversation
        if conversation is None:
            raise _not_found()
        return conversation, conversation.updated_at + self._archive.ttl

    async def list(self, key_id: str, limit: int) -> list[SessionFacts]:
        """Conversations of a key, those answered last first. Raises StoreUnavailable."""
        return await self._archive.list(key_id, limit)

    async def delete(self, key_id: str, session_id: str) -> None:
        """Forget a conversation; an answer that is under way is not kept any more.

        Raises:
            SessionNotFound, StoreUnavailable: as the names say.
        """
        if not await self._archive.delete(key_id, session_id):
            raise _not_found()


class NextTurn:
    """What a conversation becomes with what is said now. Nothing is kept before :meth:`record`."""

    def __init__(
        self,
        archive: Archive,
        key_id: str,
        session_id: str,
        new: Sequence[ChatMessage],
        found: Found,
        *,
        max_turns: int,
        clock: Callable[[], float],
    ) -> None:
        now = clock()
        self._archive = archive
        self._key_id = key_id
        self._session_id = session_id
        self._new = new
        self._expected = found.stored
        self._max_turns = max_turns
        self._clock = clock
        before = found.conversation or Conversation(session_id=session_id, created_at=now, updated_at=now)
        self._conversation = before.with_new(new)

    @property
    def messages(self) -> list[ChatMessage]:
        """What the model reads."""
        return self._conversation.messages

    def fit(self, context_length: int, max_tokens: int) -> None:
        """Take away the oldest turns if there are too many of them for the context; see
        :meth:`.conversation.Conversation.surplus`."""
        self.note_context(context_length)
        surplus = self._conversation.surplus(max_tokens, self._max_turns)
        self._conversation = self._conversation.without_oldest(surplus)

    def note_context(self, context_length: int) -> None:
        """Remember what fits into the model's context, for a time when it is not loaded; 0: not known."""
        if context_length:
            self._conversation = msgspec.structs.replace(self._conversation, context_length=context_length)

    def shorten(self) -> bool:
        """Take away a quarter of the turns, because they do not fit; False if none is left to go."""
        before = len(self._conversation.turns) - 1
        if before < 1:
            return False
        self._conversation = self._conversation.without_oldest(-(-before // 4))
        return True

    async def record(self, completion: Completion) -> None:
        """Keep what was said and answered, if the answer is whole. If the conversation was deleted
        meanwhile, it stays deleted.

        Raises:
            StoreUnavailable: nothing was kept.
        """
        if completion.finish_reason not in KEPT_ENDS:
            return
        grown = self._answered(self._conversation, completion)
        expected = self._expected
        for _ in range(RECORD_ATTEMPTS):
            if await self._archive.replace(self._key_id, expected, grown):
                return
            # A replica that had lost its lease was quicker. Both turns were answered, so both are kept.
            found = await self._archive.find(self._key_id, self._session_id)
            if found.stored is None and self._expected is not None:
                return
            if found.conversation is not None:
                grown = self._answered(found.conversation.with_new(self._new), completion)
            expected = found.stored
        raise StoreUnavailable("The answer could not be added to the session. Try again.", retry_after=1.0)

    def _answered(self, conversation: Conversation, completion: Completion) -> Conversation:
        answer = ChatMessage("assistant", completion.text, tool_calls=list(completion.tool_calls))
        return conversation.answered(answer, completion.usage.prompt_tokens, self._clock())


def _not_found() -> SessionNotFound:
    return SessionNotFound(
        "There is no such session: it was never begun, was deleted, or its time ran out.",
        parameter="session_id",
    )
