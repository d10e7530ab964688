"""The content filter between a request and its answer: whatever an answer is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ai_core.engine.messages import (
    CallPiece,
    ChatMessage,
    ChatOptions,
    Delta,
    Finished,
    Submit,
    Tool,
    ToolCall,
)
from ai_core.errors import ContentFiltered, InvalidRequest
from ai_core.inference.content_filter.answer import AnswerFilter
from ai_core.inference.content_filter.current import ContentFilter, ContentFilterError
from ai_core.inference.content_filter.metrics import ContentFilterMetrics
from ai_core.inference.content_filter.rules import Rules
from ai_core.inference.content_filter.source import FilteredSource
from ai_core.inference.requests import Origin
from ai_core.inference.sources import Query, SourcedAnswer

RULES = Rules(["interdit", "deux mots"], [r"\d{4}"])
END = Finished(7, "stop", "", 5, 9, 2, 0.5, 0.5)


def filtered(*events: Delta | Finished) -> list[Delta | Finished]:
    answer = AnswerFilter(RULES, 5)
    out: list[Delta | Finished] = []
    for event in events:
        out.append(answer.finished(event) if isinstance(event, Finished) else answer.delta(event))
        if answer.matched:
            break
    return out


def text_of(events: list[Delta | Finished]) -> str:
    return "".join(event.text for event in events)


def last(events: list[Delta | Finished]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_an_answer_without_anything_forbidden_is_what_it_was() -> None:
    events = filtered(Delta(7, "Rien d'inter", 2), Delta(7, "essant, deux", 3), Delta(7, " choses.", 2), END)
    assert text_of(events) == "Rien d'interessant, deux choses."
    assert last(events) == END
    assert [event.tokens for event in events if isinstance(event, Delta)] == [2, 3, 2]


def test_an_answer_ends_before_what_is_forbidden() -> None:
    events = filtered(Delta(7, "C'est In", 2), Delta(7, "ter", 1), Delta(7, "dit !", 2), Delta(7, "Non", 1))
    assert text_of(events) == "C'est "
    assert last(events).reason == "content_filter"
    assert (last(events).prompt_tokens, last(events).completion_tokens) == (5, 5)


def test_the_end_of_an_answer_can_complete_a_match() -> None:
    events = filtered(Delta(7, "interdit", 2), END)
    assert text_of(events) == ""
    assert last(events).reason == "content_filter"


def test_text_that_the_engine_held_back_is_looked_at_too() -> None:
    end = Finished(7, "length", "dit.", 5, 9, 2, 0.5, 0.5)
    assert last(filtered(Delta(7, "inter", 2), end)).reason == "content_filter"
    assert (
        text_of(filtered(Delta(7, "inter", 2), Finished(7, "length", "dite.", 5, 9, 2, 0.5, 0.5)))
        == "interdite."
    )


def test_reasoning_and_text_are_looked_at_apart_and_stay_in_order() -> None:
    events = filtered(
        Delta(7, "", 1, reasoning="pense inter"), Delta(7, "dit", 1, reasoning=""), Delta(7, "es", 1), END
    )
    assert "".join(event.reasoning for event in events) == "pense inter"
    assert text_of(events) == "dites"
    # All of the reasoning is out before any text.
    first_text = next(number for number, event in enumerate(events) if event.text)
    assert not any(event.reasoning for event in events[first_text + 1 :])


def test_forbidden_reasoning_ends_the_answer() -> None:
    events = filtered(Delta(7, "", 1, reasoning="c'est interdit "), Delta(7, "Bonjour", 1))
    assert last(events).reason == "content_filter"
    assert "interdit" not in "".join(event.reasoning for event in events)
    assert text_of(events) == ""


def test_arguments_of_calls_are_looked_at_call_by_call() -> None:
    first = [CallPiece(0, "search", '{"q": "12'), CallPiece(0, "", '3"}')]
    second = [CallPiece(1, "search", '{"q": "45"}')]
    events = filtered(
        Delta(7, "Je cherche", 2), Delta(7, "", 2, calls=first), Delta(7, "", 2, calls=second), END
    )
    pieces = [piece for event in events for piece in event.calls]
    assert "".join(piece.arguments for piece in pieces if piece.index == 0) == '{"q": "123"}'
    assert "".join(piece.arguments for piece in pieces if piece.index == 1) == '{"q": "45"}'
    assert [piece.name for piece in pieces if piece.name] == ["search", "search"]
    bad = filtered(Delta(7, "", 2, calls=[CallPiece(0, "pay", '{"card": "1234')]), END)
    assert last(bad).reason == "content_filter"
    assert "1234" not in "".join(piece.arguments for event in bad for piece in event.calls)


@given(st.text(st.sampled_from("interd 12"), max_size=30), st.lists(st.integers(1, 4), max_size=30))
def test_the_verdict_does_not_depend_on_how_an_answer_comes(text: str, sizes: list[int]) -> None:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(text[start : start + size])
        start += size
    deltas = [Delta(7, piece, 1) for piece in [*pieces, text[start:]]]
    whole = filtered(Finished(7, "stop", text, 5, 9, 2, 0.5, 0.5))
    events = filtered(*deltas, END)
    assert last(events).reason == last(whole).reason
    assert text_of(events) == text_of(whole)


# --- as a source -----------------------------------------------------------------------------------


class OneAnswer:
    """Says one text; counts who asked."""

    def __init__(self, *texts: str) -> None:
        self.events: list[Delta | Finished] = [*(Delta(7, text, 1) for text in texts), END]
        self.asked = 0
        self.left = 0
        self.prompt_tokens = 5
        self.origin = Origin.COMPUTED
        self.generated_tokens = 0
        self.started = True

    @asynccontextmanager
    async def open(self, query: Query) -> AsyncIterator[SourcedAnswer]:
        self.asked += 1
        try:
            yield self
        finally:
            self.left += 1

    async def __aiter__(self) -> AsyncIterator[Delta | Finished]:
        for event in self.events:
            yield event


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    path = tmp_path / "filter.txt"
    path.write_text("[prompt]\nword: interdit\n[answer]\nword: secret\n")
    return path


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def in_front(source: OneAnswer, path: Path, registry: CollectorRegistry) -> FilteredSource:
    return FilteredSource(source, ContentFilter(path), ContentFilterMetrics(registry), "m")


async def answer(source: FilteredSource, **submit: Any) -> list[Delta | Finished]:
    async with source.open(Query(submit=Submit(id=0, **submit))) as answer:
        assert answer.prompt_tokens == 5
        return [event async for event in answer]


@pytest.mark.parametrize(
    ("submit", "field"),
    [
        ({"prompt": "C'est INTERDIT."}, "prompt"),
        ({"messages": [ChatMessage("user", "bon"), ChatMessage("system", "interdit")]}, "messages"),
        ({"messages": [ChatMessage("assistant", "", [ToolCall("1", "f", '"interdit"')])]}, "messages"),
        ({"messages": [ChatMessage("assistant", "", reasoning="interdit")]}, "messages"),
        ({"prompt": "bon", "chat": ChatOptions(tools=[Tool("f", "interdit")])}, "tools"),
        ({"prompt": "bon", "chat": ChatOptions(tools=[Tool("f", "", {"enum": ["interdit"]})])}, "tools"),
        ({"prompt": "bon", "chat": ChatOptions(template_options={"x": "interdit"})}, "chat_template_kwargs"),
        ({"inputs": ["bon", [1, 2], "interdit"]}, "input"),
        ({"prompt": "x " * 20_000 + "interdit" + " x" * 20_000}, "prompt"),
    ],
)
async def test_a_forbidden_prompt_never_reaches_the_engine(
    submit: Any, field: str, lists: Path, registry: CollectorRegistry
) -> None:
    engine = OneAnswer("Bonjour")
    with pytest.raises(ContentFiltered) as caught:
        await answer(in_front(engine, lists, registry), **submit)
    assert (caught.value.code, caught.value.parameter) == ("content_filtered", field)
    assert "interdit" not in caught.value.message
    assert engine.asked == 0
    labels = {"model": "m", "direction": "prompt"}
    assert registry.get_sample_value("neo_content_filtered_total", labels) == 1


async def test_a_forbidden_answer_is_cut_short_and_its_engine_let_go(
    lists: Path, registry: CollectorRegistry
) -> None:
    engine = OneAnswer("C'est un ", "sec", "ret.", "Et encore")
    events = await answer(in_front(engine, lists, registry), prompt="Dis-le")
    assert text_of(events) == "C'est un "
    assert last(events).reason == "content_filter"
    assert engine.left == 1
    labels = {"model": "m", "direction": "answer"}
    assert registry.get_sample_value("neo_content_filtered_total", labels) == 1


async def test_each_direction_has_its_own_list(lists: Path, registry: CollectorRegistry) -> None:
    events = await answer(in_front(OneAnswer("C'est interdit."), lists, registry), prompt="Dis le secret")
    assert text_of(events) == "C'est interdit."


async def test_probabilities_would_show_what_is_held_back(lists: Path, registry: CollectorRegistry) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await answer(in_front(OneAnswer("a"), lists, registry), prompt="Dis-le", logprobs=0)
    assert caught.value.parameter == "logprobs"


def change(content_filter: ContentFilter, path: Path, text: str) -> None:
    path.write_text(text)
    content_filter.reload()


async def test_lists_can_be_changed_while_the_service_runs(lists: Path, registry: CollectorRegistry) -> None:
    content_filter = ContentFilter(lists)
    source = FilteredSource(OneAnswer("a"), content_filter, ContentFilterMetrics(registry), "m")
    change(content_filter, lists, "[prompt]\nword: autre\n")
    await answer(source, prompt="interdit")
    with pytest.raises(ContentFiltered):
        await answer(source, prompt="autre")
    # A mistake in the new file leaves the old lists in force.
    change(content_filter, lists, "[prompt]\nregex: a*\n")
    with pytest.raises(ContentFiltered):
        await answer(source, prompt="autre")


def test_a_file_that_cannot_be_used_is_refused_with_its_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(ContentFilterError, match="cannot be read"):
        ContentFilter(tmp_path / "missing")
    path = tmp_path / "filter.txt"
    path.write_text("[prompt]\nword: fine\nregex: (a\n")
    with pytest.raises(ContentFilterError, match=r"filter\.txt, line 3: it is no regular expression"):
        ContentFilter(path)
