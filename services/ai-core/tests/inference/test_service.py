"""From a request to an answer, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.engine.messages import Delta, Finished, Ready, Sampling, Stats, Submit
from ai_core.errors import EngineUnavailable, GenerationFailed, ModelNotFound, NeoError, Overloaded
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.opening import OpenRequests
from ai_core.inference.requests import REST_OF_CONTEXT, GenerationRequest, to_submit
from ai_core.inference.service import Inference, Limits

PLACES = 3


class Answer:
    """Plays back the given events."""

    prompt_tokens = 4
    started = True

    def __init__(self, events: list[Delta | Finished | NeoError]) -> None:
        self.cancelled = 0
        self._events = events

    async def __aiter__(self) -> AsyncIterator[Delta | Finished]:
        for event in self._events:
            if isinstance(event, NeoError):
                raise event
            yield event

    def cancel(self) -> None:
        self.cancelled += 1


class Engine:
    """Answers every request in the same way."""

    ready: Ready | None = None
    stats = Stats()

    def __init__(self, *events: Delta | Finished | NeoError, refusal: NeoError | None = None) -> None:
        self.answers: list[Answer] = []
        self.events = list(events)
        self.refusal = refusal

    async def submit(self, request: Submit) -> Answer:
        if self.refusal is not None:
            raise self.refusal
        self.answers.append(Answer(self.events))
        return self.answers[-1]

    async def set_threads(self, decode: int, batch: int) -> None:
        """Not used here."""

    async def close(self) -> None:
        """Nothing to end."""


END = Finished(1, "stop", "!", 4, 3, 1, 0.5, 0.1)


def request(model: str | None = None, max_tokens: int | None = 5) -> GenerationRequest:
    return GenerationRequest(model=model, prompt="x", sampling=Sampling(), max_tokens=max_tokens, stop=[])


def inference(engine: Engine) -> Inference:
    catalog = Catalog([ModelEntry("m", Path("m.gguf"))])
    limits = Limits(max_sequences=1, max_queued=PLACES - 1, request_timeout=9, drain_timeout=30)
    return Inference(catalog, {"m": engine}, limits, AnswerMetrics(CollectorRegistry()))


async def test_text_comes_in_pieces_and_then_as_a_whole() -> None:
    service = inference(Engine(Delta(1, "a", 1), Delta(1, "", 1), Delta(1, "b", 1), END))
    async with service.answer(request()) as generation:
        assert [piece.text async for piece in generation] == ["a", "b", "!"]
        completion = await generation.complete()
    assert (completion.text, completion.finish_reason, completion.model) == ("ab!", "stop", "m")
    assert completion.usage.total_tokens == 7


async def test_a_stream_without_an_end_is_a_failure_and_no_answer() -> None:
    async with inference(Engine(Delta(1, "a", 1))).answer(request()) as generation:
        with pytest.raises(GenerationFailed):
            await generation.complete()


@pytest.mark.parametrize(
    "events",
    [[END], [Delta(1, "a", 1), GenerationFailed("no")], [Delta(1, "a", 1)]],
    ids=["finished", "failed", "left early"],
)
async def test_every_place_is_given_back_and_every_answer_released(
    events: list[Delta | Finished | NeoError],
) -> None:
    engine = Engine(*events)
    service = inference(engine)
    for _ in range(PLACES * 3):
        try:
            async with service.answer(request()) as generation:
                await anext(generation)
                await anext(generation, None)
        except GenerationFailed:
            pass
    assert all(answer.cancelled for answer in engine.answers)
    assert service.requests.count == 0


@pytest.mark.parametrize("refusal", [EngineUnavailable("no"), Overloaded("no")])
async def test_a_refusal_gives_the_place_back(refusal: NeoError) -> None:
    service = inference(Engine(refusal=refusal))
    for _ in range(PLACES * 2):
        with pytest.raises(type(refusal), match="no"):
            async with service.answer(request()):
                pytest.fail("entered without an answer")
    assert service.requests.count == 0


async def test_a_caller_that_is_cancelled_while_it_waits_gives_its_place_back() -> None:
    class Slow(Engine):
        async def submit(self, request: Submit) -> Answer:
            await asyncio.Event().wait()
            return await super().submit(request)

    service = inference(Slow())
    for _ in range(PLACES * 2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), service.answer(request()):
                pytest.fail("entered without an answer")
    assert service.requests.count == 0


async def test_an_unknown_model_takes_no_place() -> None:
    service = inference(Engine(END))
    with pytest.raises(ModelNotFound):
        async with service.answer(request("other")):
            pytest.fail("entered without a model")
    assert service.requests.count == 0


async def test_closed_means_that_nobody_enters_and_those_inside_may_stay() -> None:
    requests = OpenRequests(30.0)
    with requests.enter():
        requests.close()
        leaving = asyncio.create_task(requests.wait_until_nobody())
        with pytest.raises(EngineUnavailable) as caught, requests.enter():
            pytest.fail("entered after closing")
        assert (caught.value.code, caught.value.retry_after) == ("shutting_down", 30.0)
        await asyncio.sleep(0)
        assert not leaving.done()
    await leaving


def test_without_a_bound_the_engine_gets_a_sensible_one() -> None:
    assert to_submit(request(max_tokens=None), 9).max_tokens == REST_OF_CONTEXT
    assert to_submit(request(max_tokens=5), 9).max_tokens == 5
    assert to_submit(request(), 9).timeout == 9
