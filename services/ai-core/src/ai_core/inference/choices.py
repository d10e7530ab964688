"""Several answers to one request: all of them, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol

from msgspec import structs

from ai_core.access.limits.ledger import Allowance
from ai_core.engine.messages import Sampling
from ai_core.errors import GenerationFailed
from ai_core.inference.generation import Generation, Progress
from ai_core.inference.requests import Completion, GenerationRequest, Piece, Usage

UNREAD_PIECES = 64
"""Of all choices together; then they wait for the reader, as a single answer would."""
_SEEDS = 2**32


class Answers(Protocol):
    """What gives single answers: :class:`.service.Inference`."""

    def answer(self, request: GenerationRequest) -> AbstractAsyncContextManager[Generation]:
        """Entered once the request is accepted."""


class FromChoice(NamedTuple):
    """A piece of one choice, or the whole of it at its end."""

    choice: int
    content: Piece | Completion


class Choices:
    """Iterate to get what the choices grow by, as it comes; then ``completions`` holds all of them.

    The iteration raises a NeoError where any of them broke off.
    """

    def __init__(self, requests: Sequence[GenerationRequest]) -> None:
        self.completions: list[Completion | None] = [None] * len(requests)
        self._tokens_left: Allowance | None = None
        self._progress: list[Progress | None] = [None] * len(requests)
        self._accepted: list[asyncio.Future[None]] = [
            asyncio.get_running_loop().create_future() for _ in requests
        ]
        self._unread: asyncio.Queue[FromChoice | BaseException] = asyncio.Queue(UNREAD_PIECES)

    def __aiter__(self) -> Choices:
        return self

    async def __anext__(self) -> FromChoice:
        if all(self.completions):
            raise StopAsyncIteration
        news = await self._unread.get()
        if isinstance(news, BaseException):
            raise news
        if isinstance(news.content, Completion):
            self.completions[news.choice] = news.content
        return news

    async def complete(self) -> list[Completion]:
        """All answers, when they are there."""
        async for _ in self:
            pass
        found = [completion for completion in self.completions if completion is not None]
        if len(found) < len(self.completions):
            raise GenerationFailed("The answer broke off. Try again.")
        return found

    @property
    def progress(self) -> list[Progress]:
        """Of each, in order."""
        return [progress for progress in self._progress if progress is not None]

    @property
    def tokens_left(self) -> Allowance | None:
        """How the key stands at its limit of tokens per minute, if it has one: after the last of them."""
        return self._tokens_left

    async def accepted(self) -> None:
        """Returns when all are accepted. Raises what the first of them was refused with."""
        await asyncio.gather(*self._accepted)

    def retrieve_errors(self) -> None:
        """Nobody waits any more: what went wrong beside the first error is not worth a warning."""
        for accepted in self._accepted:
            if accepted.done() and not accepted.cancelled():
                accepted.exception()

    async def follow(self, choice: int, answering: AbstractAsyncContextManager[Generation]) -> None:
        """Work on one of them until its end."""
        accepted = self._accepted[choice]
        try:
            async with answering as generation:
                self._progress[choice] = generation.progress
                self._tokens_left = generation.tokens_left
                accepted.set_result(None)
                async for piece in generation:
                    await self._unread.put(FromChoice(choice, piece))
                await self._unread.put(FromChoice(choice, await generation.complete()))
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            if accepted.done():
                await self._unread.put(error)
            else:
                accepted.set_exception(error)


@asynccontextmanager
async def answer_all(answers: Answers, requests: Sequence[GenerationRequest]) -> AsyncIterator[Choices]:
    """Entered once all are accepted; leaving stops what still runs of them.

    Raises:
        NeoError: on entering, where one was refused. Then the others are stopped.
    """
    choices = Choices(requests)
    work = [
        asyncio.create_task(choices.follow(choice, answers.answer(request)))
        for choice, request in enumerate(requests)
    ]
    try:
        await choices.accepted()
        yield choices
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        choices.retrieve_errors()


def spread(request: GenerationRequest, count: int) -> list[GenerationRequest]:
    """One request for each of several answers to the same prompt; where a seed is given, choice i has
    the seed + i."""
    return [replace(request, choice=choice, sampling=_reseeded(request, choice)) for choice in range(count)]


def _reseeded(request: GenerationRequest, choice: int) -> Sampling:
    sampling = request.sampling
    if sampling.seed is None or choice == 0:
        return sampling
    return structs.replace(sampling, seed=(sampling.seed + choice) % _SEEDS)


def usage_of(completions: Sequence[Completion], per_prompt: int) -> Usage:
    """What several answers took together: each prompt counts once, however many answers it has."""
    first = [completion.usage for completion in completions[::per_prompt]]
    return Usage(
        sum(usage.prompt_tokens for usage in first),
        sum(completion.usage.completion_tokens for completion in completions),
        sum(usage.cached_prompt_tokens for usage in first),
        sum(completion.usage.reasoning_tokens for completion in completions),
    )
