"""Models come, go and change while requests run; a stand-in answers for one that is out of service."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry

from ai_core.catalog.models import Catalog, ModelEntry
from ai_core.engine.messages import Sampling
from ai_core.errors import EngineUnavailable, InvalidRequest, ModelNotFound
from ai_core.inference.metrics import AnswerMetrics
from ai_core.inference.requests import GenerationRequest
from ai_core.inference.service import Inference, Limits
from edge_server import READY, FakeEngine

LIMITS = Limits(max_sequences=2, max_queued=2, request_timeout=9, drain_timeout=30)
OLD = ModelEntry("old", Path("old.gguf"))
NEW = ModelEntry("new", Path("new.gguf"))
PARKED = EngineUnavailable("It crashes.", code="model_parked", retry_after=30)


def inference(**engines: FakeEngine) -> Inference:
    catalog = Catalog([ModelEntry(name, Path(name)) for name in engines])
    return Inference(catalog, engines, LIMITS, AnswerMetrics(CollectorRegistry()))


def ask(model: str, *fallbacks: str, adapter: str = "") -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt="x",
        sampling=Sampling(),
        max_tokens=5,
        stop=[],
        fallbacks=fallbacks,
        adapter=adapter,
    )


async def answered(service: Inference, request: GenerationRequest) -> str:
    async with service.answer(request) as generation:
        return (await generation.complete()).model


def says(text: str) -> FakeEngine:
    return FakeEngine(script=lambda answer: answer.say(text).finish())


async def test_a_removed_model_finishes_what_it_has_begun_and_begins_nothing() -> None:
    engine = FakeEngine()
    service = inference(old=engine)
    async with service.answer(ask("old")) as generation:
        (desk,) = service.change(Catalog([NEW]), {"new": says("hello")})
        retiring = asyncio.create_task(service.retire(desk))
        with pytest.raises(ModelNotFound):
            await answered(service, ask("old"))
        assert await answered(service, ask("new")) == "new"
        assert not retiring.done()
        (await engine.next_answer()).say("to the end").finish()
        assert (await generation.complete()).text == "to the end"
    async with asyncio.timeout(10):
        await retiring


async def test_a_model_that_stays_as_it_is_keeps_its_place_in_the_line() -> None:
    old = FakeEngine()
    service = inference(old=old)
    catalog = Catalog([replace(OLD, path=Path("old")), NEW])
    async with service.answer(ask("old")):
        assert service.change(catalog, {"old": old, "new": says("x")}) == []
        assert await answered(service, ask("new")) == "new"


async def test_a_model_that_changed_answers_new_requests_as_it_is_now() -> None:
    first, second = FakeEngine(), says("second")
    service = inference(old=first)
    async with service.answer(ask("old")) as generation:
        (desk,) = service.change(Catalog([replace(OLD, sampling={"top_k": 7})]), {"old": second})
        assert await answered(service, ask("old")) == "old"
        assert second.requests[-1].sampling.top_k == 7
        assert first.requests[-1].sampling.top_k == 0
        (await first.next_answer()).finish()
        await generation.complete()
    await service.retire(desk)


async def test_nobody_waits_for_a_desk_where_nobody_is() -> None:
    service = inference(old=FakeEngine())
    (desk,) = service.change(Catalog([NEW]), {"new": FakeEngine()})
    async with asyncio.timeout(10):
        await service.retire(desk)


@pytest.mark.parametrize("code", ["model_parked", "model_not_fetched", "model_too_large"])
async def test_a_stand_in_answers_and_says_who_it_is(code: str) -> None:
    refusal = EngineUnavailable("Not now.", code=code)
    service = inference(main=FakeEngine(refusal=refusal), other=says("me"))
    assert await answered(service, ask("main", "other")) == "other"


async def test_the_next_stand_in_answers_where_the_first_is_out_of_service_too() -> None:
    service = inference(main=FakeEngine(refusal=PARKED), second=FakeEngine(refusal=PARKED), third=says("me"))
    assert await answered(service, ask("main", "second", "gone", "third")) == "third"


async def test_the_first_error_counts_where_nobody_can_answer() -> None:
    other = EngineUnavailable("Another reason.", code="model_parked")
    service = inference(main=FakeEngine(refusal=PARKED), second=FakeEngine(refusal=other))
    with pytest.raises(EngineUnavailable) as caught:
        await answered(service, ask("main", "second"))
    assert caught.value is PARKED


async def test_a_model_that_is_only_loading_or_has_no_fallback_keeps_its_requests() -> None:
    loading = EngineUnavailable("It loads.", code="model_loading", retry_after=3)
    service = inference(main=FakeEngine(refusal=loading), other=says("me"))
    with pytest.raises(EngineUnavailable) as caught:
        await answered(service, ask("main", "other"))
    assert caught.value is loading
    with pytest.raises(EngineUnavailable):
        await answered(inference(main=FakeEngine(refusal=PARKED), other=says("me")), ask("main"))


async def test_no_stand_in_answers_for_an_adapter_that_it_does_not_have() -> None:
    adapted = structs.replace(READY, adapters=["formal"])
    main = FakeEngine(refusal=PARKED, ready=adapted)
    service = inference(main=main, other=says("me"))
    with pytest.raises(EngineUnavailable):
        await answered(service, ask("main", "other", adapter="formal"))
    with pytest.raises(InvalidRequest) as caught:
        await answered(service, ask("other", adapter="formal"))
    assert caught.value.code == "unknown_adapter"
