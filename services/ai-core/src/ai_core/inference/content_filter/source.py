"""The source that lets neither prompts nor answers through that hold what the operator forbids.

It stands before all others: what is kept or shared for later was not filtered, so a changed list counts
for it, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from ai_core.engine.messages import Delta, Finished, Submit
from ai_core.errors import ContentFiltered, InvalidRequest
from ai_core.inference.content_filter.answer import AnswerFilter
from ai_core.inference.content_filter.current import ContentFilter
from ai_core.inference.content_filter.metrics import ContentFilterMetrics
from ai_core.inference.content_filter.rules import Rules
from ai_core.inference.requests import Origin
from ai_core.inference.sources import AnswerSource, Query, SourcedAnswer

_SLICE = 16_384
"""Characters that are looked at in one go, about a millisecond: others get their turn in between."""


class FilteredSource:
    """Implements :class:`ai_core.inference.sources.AnswerSource` in front of another."""

    def __init__(
        self, source: AnswerSource, content_filter: ContentFilter, metrics: ContentFilterMetrics, model: str
    ) -> None:
        """``model`` is for the metrics."""
        self._source = source
        self._filter = content_filter
        self._metrics = metrics
        self._model = model

    @asynccontextmanager
    async def open(self, query: Query) -> AsyncIterator[SourcedAnswer]:
        """As the port says. Raises ContentFiltered, too."""
        rules = self._filter.rules
        if rules.prompt is not None:
            await self._check(query.submit, rules.prompt)
        if rules.answer is not None and query.submit.logprobs is not None:
            raise InvalidRequest(
                "This server looks at answers before it shows them, and cannot show the probabilities of "
                "their tokens. Leave 'logprobs' out.",
                parameter="logprobs",
            )
        async with self._source.open(query) as answer:
            yield answer if rules.answer is None else _FilteredAnswer(answer, rules.answer, self._note_answer)

    async def _check(self, submit: Submit, rules: Rules) -> None:
        for field, text in texts_of(submit):
            if await holds(rules, text):
                self._metrics.filtered(self._model, "prompt")
                raise ContentFiltered(
                    "This text holds something that the operator of this server does not allow. Change it.",
                    parameter=field,
                )

    def _note_answer(self) -> None:
        self._metrics.filtered(self._model, "answer")


@dataclass(frozen=True, slots=True)
class Filtering:
    """What it takes to filter for all models."""

    content_filter: ContentFilter
    metrics: ContentFilterMetrics

    def in_front_of(self, source: AnswerSource, model: str) -> FilteredSource:
        """The source to ask instead of ``source``."""
        return FilteredSource(source, self.content_filter, self.metrics, model)


class _FilteredAnswer:
    """An answer of which only what may be shown comes out."""

    def __init__(self, answer: SourcedAnswer, rules: Rules, note_match: Callable[[], None]) -> None:
        self._answer = answer
        self._events = aiter(answer)
        self._filter = AnswerFilter(rules, answer.prompt_tokens)
        self._note_match = note_match

    @property
    def prompt_tokens(self) -> int:
        return self._answer.prompt_tokens

    @property
    def origin(self) -> Origin:
        return self._answer.origin

    @property
    def generated_tokens(self) -> int:
        return self._answer.generated_tokens

    @property
    def started(self) -> bool:
        return self._answer.started

    def __aiter__(self) -> _FilteredAnswer:
        return self

    async def __anext__(self) -> Delta | Finished:
        if self._filter.matched:
            raise StopAsyncIteration
        event = await anext(self._events)
        shown = self._filter.finished(event) if isinstance(event, Finished) else self._filter.delta(event)
        if isinstance(shown, Finished) and shown.reason == "content_filter":
            self._note_match()
        return shown


def texts_of(submit: Submit) -> Iterator[tuple[str, str]]:
    """All texts of a caller that the model reads, with the field that holds each. Inputs in token ids are
    no texts."""
    for message in submit.messages or ():
        yield "messages", message.content
        yield "messages", message.reasoning
        for call in message.tool_calls:
            yield "messages", call.arguments
    for tool in submit.chat.tools:
        yield "tools", f"{tool.name} {tool.description}"
        yield "tools", msgspec.json.encode(tool.parameters).decode()
    for option in submit.chat.template_options.values():
        if isinstance(option, str):
            yield "chat_template_kwargs", option
    if submit.prompt is not None:
        yield "prompt", submit.prompt
    for text in submit.inputs or ():
        if isinstance(text, str):
            yield "input", text


async def holds(rules: Rules, text: str) -> bool:
    """Whether a text holds what is forbidden."""
    search = rules.search()
    for start in range(0, len(text), _SLICE):
        if start:
            await asyncio.sleep(0)
        if search.feed(text[start : start + _SLICE]):
            return True
    return search.finish()
