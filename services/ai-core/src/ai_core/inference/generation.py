"""An answer in the making: text as it comes, then the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ai_core.engine.messages import Finished
from ai_core.engine_client.port import Answer
from ai_core.errors import GenerationFailed
from ai_core.inference.metrics import ModelMetrics
from ai_core.inference.requests import Completion, Usage


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


class Generation:
    """Iterate to get pieces of text, none of them empty; then ``completion`` holds the whole answer.

    The iteration raises a NeoError where the answer broke off.
    """

    def __init__(
        self, answer: Answer, model: str, arrival: float, metrics: ModelMetrics, clock: Callable[[], float]
    ) -> None:
        self._events = aiter(answer)
        self._metrics = metrics
        self._clock = clock
        self._arrival = arrival
        self._last_text_at = arrival
        self._texts: list[str] = []
        self.progress = Progress(model, answer.prompt_tokens)
        self.completion: Completion | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while self.completion is None:
            event = await anext(self._events)
            if isinstance(event, Finished):
                self._finish(event)
            else:
                self.progress.completion_tokens += event.tokens
            if event.text:
                self._note_text(event.text)
                return event.text
        raise StopAsyncIteration

    async def complete(self) -> Completion:
        """The whole answer, when it is there."""
        async for _ in self:
            pass
        if self.completion is None:
            raise GenerationFailed("The answer broke off. Try again.")
        return self.completion

    def _note_text(self, text: str) -> None:
        now = self._clock()
        if self._texts:
            self._metrics.inter_token.observe(now - self._last_text_at)
        else:
            self.progress.first_token_seconds = now - self._arrival
            self._metrics.first_token.observe(now - self._arrival)
        self._last_text_at = now
        self._texts.append(text)

    def _finish(self, event: Finished) -> None:
        self.progress.finish_reason = event.reason
        self.progress.completion_tokens = event.completion_tokens
        self.progress.cached_prompt_tokens = event.cached_prompt_tokens
        self.progress.queue_seconds = event.queue_seconds
        if event.reason == "cancelled":
            raise GenerationFailed("The answer was stopped before its end. Try again.", code="cancelled")
        self.completion = Completion(
            model=self.progress.model,
            text="".join(self._texts) + event.text,
            finish_reason=event.reason,
            usage=Usage(event.prompt_tokens, event.completion_tokens, event.cached_prompt_tokens),
            seconds=self._clock() - self._arrival,
        )
