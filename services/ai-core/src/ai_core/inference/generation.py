"""An answer in the making: text as it comes, then the whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from ai_core.access.limits.ledger import Allowance
from ai_core.engine.messages import Delta, Finished, TokenLogprob
from ai_core.errors import GenerationFailed
from ai_core.inference.metrics import ModelMetrics
from ai_core.inference.requests import Completion, Origin, Piece, Usage
from ai_core.inference.sources import SourcedAnswer
from ai_core.inference.tool_calls import ToolCalls


@dataclass(slots=True)
class Progress:
    """What is known about one answer so far; never its text."""

    model: str
    prompt_tokens: int
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    first_token_seconds: float | None = None
    queue_seconds: float | None = None
    finish_reason: str | None = None
    origin: Origin = Origin.COMPUTED


class Generation:
    """Iterate to get pieces, none of them empty; then ``completion`` holds the whole answer.

    The iteration raises a NeoError where the answer broke off.
    """

    def __init__(
        self,
        answer: SourcedAnswer,
        model: str,
        arrival: float,
        metrics: ModelMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._answer = answer
        self._events = aiter(answer)
        self._metrics = metrics
        self._clock = clock
        self._arrival = arrival
        self._last_text_at = arrival
        self._seen = False
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls = ToolCalls()
        self._logprobs: list[TokenLogprob] | None = None
        self.progress = Progress(model, answer.prompt_tokens, origin=answer.origin)
        self.completion: Completion | None = None
        self.tokens_left: Allowance | None = None
        """How the key stands at its limit of tokens per minute, if it has one."""
        self.before_end: Callable[[Completion], Awaitable[None]] | None = None
        """What has to be done with the answer before anybody is told that it is whole."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        while self.completion is None:
            event = await anext(self._events)
            piece = self._piece(event)
            if isinstance(event, Finished):
                completion = self._finish(event)
                if self.before_end is not None:
                    await self.before_end(completion)
                self.completion = completion
            else:
                self.progress.completion_tokens += event.tokens
            if piece is not None:
                self._note_time()
                return piece
        raise StopAsyncIteration

    async def complete(self) -> Completion:
        """The whole answer, when it is there."""
        async for _ in self:
            pass
        if self.completion is None:
            raise GenerationFailed("The answer broke off. Try again.")
        return self.completion

    def settle(self) -> Progress:
        """What it has cost in the end, whether its caller has read all of it or not."""
        self.progress.origin = self._answer.origin
        if self.progress.origin is Origin.COMPUTED:
            self.progress.completion_tokens = max(
                self.progress.completion_tokens, self._answer.generated_tokens
            )
        return self.progress

    def _piece(self, event: Delta | Finished) -> Piece | None:
        if event.text:
            self._texts.append(event.text)
        logprobs = None if event.logprobs is None else self._note_logprobs(event.logprobs)
        if not event.reasoning and not event.calls:
            return Piece(event.text, logprobs=logprobs) if event.text or logprobs else None
        self._thoughts.append(event.reasoning)
        return Piece(event.text, event.reasoning, self._calls.add(event.calls), logprobs)

    def _note_logprobs(self, entries: list[TokenLogprob]) -> tuple[TokenLogprob, ...]:
        if self._logprobs is None:
            self._logprobs = []
        self._logprobs += entries
        return tuple(entries)

    def _note_time(self) -> None:
        now = self._clock()
        # What was kept says nothing about how fast answers are computed.
        computed = self.progress.origin is Origin.COMPUTED
        if not self._seen:
            self.progress.first_token_seconds = now - self._arrival
        if computed and self._seen:
            self._metrics.inter_token.observe(now - self._last_text_at)
        elif computed:
            self._metrics.first_token.observe(now - self._arrival)
        self._last_text_at = now
        self._seen = True

    def _finish(self, event: Finished) -> Completion:
        self.progress.finish_reason = event.reason
        self.progress.prompt_tokens = event.prompt_tokens
        self.progress.completion_tokens = event.completion_tokens
        cached = self.progress.origin is Origin.CACHED
        self.progress.cached_prompt_tokens = event.prompt_tokens if cached else event.cached_prompt_tokens
        self.progress.queue_seconds = 0.0 if cached else event.queue_seconds
        if event.reason == "cancelled":
            raise GenerationFailed("The answer was stopped before its end. Try again.", code="cancelled")
        return Completion(
            model=self.progress.model,
            text="".join(self._texts),
            finish_reason=event.reason,
            usage=Usage(
                event.prompt_tokens,
                event.completion_tokens,
                self.progress.cached_prompt_tokens,
                event.reasoning_tokens,
            ),
            seconds=self._clock() - self._arrival,
            logprobs=None if self._logprobs is None else tuple(self._logprobs),
            reasoning="".join(self._thoughts),
            tool_calls=self._calls.whole(),
            origin=self.progress.origin,
        )
