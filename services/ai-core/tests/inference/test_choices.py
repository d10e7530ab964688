"""Several answers to one request: all or none, and each prompt counts once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.engine.messages import Delta, Finished, Ready, Sampling, Stats, Submit, TokenLogprob
from ai_core.errors import GenerationFailed, InvalidRequest, NeoError, Overloaded
from ai_core.inference.choices import answer_all, spread, usage_of
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.requests import Completion, GenerationRequest, Piece
from ai_core.inference.service import Inference, Limits

PLACES = 4
REQUEST = GenerationRequest(
    model=None, prompt="x", sampling=Sampling(seed=2**32 - 2), max_tokens=5, stop=[], logprobs=0
)


class Answer:
    """Says its number, letter by letter, in turns with the others; or breaks off, or never ends."""

    prompt_tokens = 4
    started = True

    def __init__(self, said: str, *, breaks: bool = False, hangs: bool = False) -> None:
        self.cancelled = False
        self._said = said
        self._breaks = breaks
        self._hangs = hangs

    async def __aiter__(self) -> AsyncIterator[Delta | Finished]:
        for letter in self._said:
            await asyncio.sleep(0)
            yield Delta(1, letter, 1, [TokenLogprob(letter.encode(), -1.0)])
        if self._breaks:
            raise GenerationFailed("It broke.")
        if self._hangs:
            await asyncio.Event().wait()
        yield Finished(1, "stop", "", 4, len(self._said), 3, 0.0, 0.0, [])

    def cancel(self) -> None:
        self.cancelled = True


class Engine:
    """Gives each request the next answer of a list."""

    ready: Ready | None = None
    stats = Stats()

    def __init__(self, *answers: Answer | NeoError) -> None:
        self.submitted: list[Submit] = []
        self.answers = list(answers)
        self._next = iter(answers)

    async def submit(self, request: Submit) -> Answer:
        self.submitted.append(request)
        answer = next(self._next)
        await asyncio.sleep(0)
        if isinstance(answer, NeoError):
            raise answer
        return answer

    async def set_threads(self, decode: int, batch: int) -> None:
        """Not used here."""

    async def close(self) -> None:
        """Nothing to end."""


def inference(engine: Engine) -> Inference:
    catalog = Catalog([ModelEntry("m", Path("m.gguf"))])
    limits = Limits(max_sequences=1, max_queued=PLACES - 1, request_timeout=9, drain_timeout=30)
    return Inference(catalog, {"m": engine}, limits, AnswerMetrics(CollectorRegistry()))


async def collect(
    service: Inference, requests: list[GenerationRequest]
) -> tuple[list[str], list[Completion]]:
    """What each choice said on the way, and all of them at the end."""
    said = ["" for _ in requests]
    async with answer_all(service, requests) as choices:
        async for choice, content in choices:
            if isinstance(content, Piece):
                said[choice] += content.text
        return said, await choices.complete()


async def test_each_choice_comes_in_pieces_under_its_number_and_then_as_a_whole() -> None:
    service = inference(Engine(Answer("abc"), Answer("d"), Answer("")))
    said, completions = await collect(service, spread(REQUEST, 3))
    assert said == [completion.text for completion in completions] == ["abc", "d", ""]
    assert [len(completion.logprobs or ()) for completion in completions] == [3, 1, 0]
    assert service.requests.count == 0


async def test_seeds_go_on_from_the_given_one() -> None:
    engine = Engine(Answer("a"), Answer("b"), Answer("c"))
    await collect(inference(engine), spread(REQUEST, 3))
    assert [submit.sampling.seed for submit in engine.submitted] == [2**32 - 2, 2**32 - 1, 0]
    free = spread(replace(REQUEST, sampling=Sampling()), 3)
    assert [request.sampling.seed for request in free] == [None] * 3


async def test_each_prompt_is_counted_once() -> None:
    engine = Engine(*(Answer(said) for said in ("a", "bb", "ccc", "dddd")))
    requests = [*spread(REQUEST, 2), *spread(REQUEST, 2)]
    _, completions = await collect(inference(engine), requests)
    usage = usage_of(completions, per_prompt=2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens) == (8, 10, 6)


async def test_more_answers_than_places_are_refused_as_a_whole() -> None:
    engine = Engine(*(Answer("a", hangs=True) for _ in range(PLACES + 1)))
    service = inference(engine)
    with pytest.raises(Overloaded):
        async with answer_all(service, spread(REQUEST, PLACES + 1)):
            pytest.fail("one of them has no place")
    assert service.requests.count == 0
    async with service.answer(REQUEST):
        pass


async def test_where_one_is_refused_the_others_are_stopped() -> None:
    answers = Answer("a", hangs=True), Answer("b", hangs=True)
    service = inference(Engine(answers[0], InvalidRequest("no"), answers[1]))
    with pytest.raises(InvalidRequest):
        async with answer_all(service, spread(REQUEST, 3)):
            pytest.fail("one was refused")
    assert all(answer.cancelled for answer in answers)
    assert service.requests.count == 0


async def test_where_one_breaks_off_all_have() -> None:
    other = Answer("b", hangs=True)
    service = inference(Engine(Answer("a", breaks=True), other))
    async with answer_all(service, spread(REQUEST, 2)) as choices:
        with pytest.raises(GenerationFailed):
            await choices.complete()
    assert other.cancelled


async def test_a_reader_who_leaves_stops_them_all() -> None:
    answers = [Answer("a" * 1_000) for _ in range(3)]
    service = inference(Engine(*answers))
    seen = Counter[int]()
    async with answer_all(service, spread(REQUEST, 3)) as choices:
        async for choice, _ in choices:
            seen[choice] += 1
            if sum(seen.values()) == 10:
                break
    assert all(answer.cancelled for answer in answers)
    assert service.requests.count == 0
