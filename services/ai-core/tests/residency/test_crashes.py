"""An engine dies: what its callers notice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ai_core.engine.messages import Delta, Finished, Submit
from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable, GenerationFailed, InvalidRequest, Overloaded, RequestQuarantined
from ai_core.residency.quarantine import Quarantine
from ai_core.residency.recovery import Cause
from ai_core.residency.supervisor import SupervisedEngine

MakeEngine = Callable[..., SupervisedEngine]
Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]


def kill(engine: SupervisedEngine, number: signal.Signals = signal.SIGKILL) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, number)


async def first_event(answer: Answer) -> Delta | Finished:
    return await anext(aiter(answer))


async def test_an_answer_comes_back_in_order(make_engine: MakeEngine, begin: Begin, text_of: TextOf) -> None:
    engine = make_engine()
    answers = await asyncio.gather(*(begin(engine, f"question {n}") for n in range(10)))
    assert [answer.prompt_tokens for answer in answers] == [len("question 0")] * 10
    assert await asyncio.gather(*map(text_of, answers)) == [f"question {n}" for n in range(10)]
    assert engine.state == "ready"
    assert engine.restarts == {}


async def test_after_a_kill_requests_in_the_batch_are_told_to_come_again_and_the_next_one_is_answered(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    streaming = await begin(engine, "hold 1")
    silent = await begin(engine, "alone 0")
    await first_event(streaming)
    await first_event(await begin(engine, "hold 1"))
    kill(engine)
    for answer in (streaming, silent):
        with pytest.raises(EngineUnavailable, match="killed from outside") as lost:
            await first_event(answer)
        assert lost.value.retry_after is not None
        assert lost.value.retry_after >= 1
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.KILLED: 1}


async def test_a_request_that_was_waiting_is_answered_by_the_next_engine(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(max_sequences=1)
    running = await begin(engine, "hold 1")
    await first_event(running)
    waiting = [await begin(engine, f"waiting {n}") for n in range(3)]
    kill(engine)
    assert await asyncio.gather(*map(text_of, waiting)) == ["waiting 0", "waiting 1", "waiting 2"]
    with pytest.raises(EngineUnavailable):
        await first_event(running)


async def test_a_request_that_the_engine_had_not_even_accepted_is_answered_by_the_next_one(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    await text_of(await begin(engine, "load"))
    kill(engine, signal.SIGSTOP)
    submitting = asyncio.create_task(begin(engine, "Bonjour"))
    await asyncio.sleep(0)
    kill(engine)
    assert await text_of(await submitting) == "Bonjour"


async def test_a_waiting_request_keeps_its_deadline_across_a_restart(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(max_sequences=1)
    running = await begin(engine, "hold 1")
    await first_event(running)
    waiting = await engine.submit(Submit(id=0, prompt="timeout", timeout=100.0))
    kill(engine)
    assert 0 < float(await text_of(waiting)) < 100.0


async def test_a_neighbour_of_a_crash_that_showed_nothing_yet_is_answered_and_nothing_comes_twice(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine()
    neighbour = await begin(engine, "alone 5")
    culprit = await begin(engine, "abort 1")
    events = [event async for event in neighbour]
    assert [(e.text, e.tokens) for e in events if isinstance(e, Delta)] == [(c, 1) for c in "done"]
    assert isinstance(events[-1], Finished)
    with pytest.raises(EngineUnavailable, match="crashed"):
        [event async for event in culprit]
    assert engine.restarts == {Cause.CRASHED: 1}


async def test_a_neighbour_of_a_crash_that_showed_text_is_told_to_come_again(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    neighbour = await begin(engine, "hold 1")
    await first_event(neighbour)
    culprit = await begin(engine, "abort-beside 0")
    with pytest.raises(EngineUnavailable, match="crashed"):
        await first_event(neighbour)
    assert await text_of(culprit) == "done"
    assert engine.restarts == {Cause.CRASHED: 1}


async def test_a_suspect_that_ran_to_its_end_alone_runs_beside_others_again(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    for crashes in (1, 2, 3):
        neighbour = await begin(engine, f"hold {crashes}")
        await first_event(neighbour)
        assert await text_of(await begin(engine, "abort-beside 0")) == "done"
        assert engine.restarts == {Cause.CRASHED: crashes}


async def test_a_quarantine_that_can_remember_nobody_still_ends_a_series_of_crashes(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine(quarantine=Quarantine(capacity=0))
    with pytest.raises(RequestQuarantined):
        await first_event(await begin(engine, "abort 0"))
    assert engine.restarts == {Cause.CRASHED: 2}


@pytest.mark.parametrize("prompt", ["abort 0", "exit 0", "garbage 0"])
async def test_a_request_that_crashes_engines_is_quarantined_and_others_are_not(
    prompt: str, make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    culprit = await begin(engine, prompt)
    with pytest.raises(RequestQuarantined, match="Change it") as refusal:
        await first_event(culprit)
    assert refusal.value.retry_after == pytest.approx(3600, abs=60)
    assert engine.restarts == {Cause.CRASHED: 2}
    with pytest.raises(RequestQuarantined):
        await begin(engine, prompt)
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.CRASHED: 2}


async def test_a_request_that_streams_and_then_crashes_is_quarantined_when_it_comes_again(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine()
    for expected in (EngineUnavailable, RequestQuarantined):
        answer = await begin(engine, "abort 3")
        with pytest.raises(expected):
            [event async for event in answer]
    with pytest.raises(RequestQuarantined):
        await begin(engine, "abort 3")


async def test_many_copies_of_one_request_in_a_crashing_batch_are_not_all_refused(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    copies = await asyncio.gather(*(begin(engine, "abort-beside 0") for _ in range(3)))
    assert await asyncio.gather(*map(text_of, copies)) == ["done"] * 3


async def test_copies_of_a_request_that_crashed_an_engine_alone_are_refused_too(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine()

    async def ask() -> None:
        await first_event(await begin(engine, "abort 0"))

    outcomes = await asyncio.gather(ask(), ask(), ask(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RequestQuarantined] * 3
    assert engine.restarts == {Cause.CRASHED: 2}


async def test_an_engine_that_hangs_up_without_ending_is_replaced(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    answer = await begin(engine, "hang-up 1")
    await first_event(answer)
    with pytest.raises(EngineUnavailable, match="crashed"):
        await first_event(answer)
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"


async def test_an_answer_that_its_caller_cancelled_is_not_computed_again(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(max_sequences=1)
    running = await begin(engine, "hold 1")
    await first_event(running)
    waiting = await begin(engine, "waiting")
    kill(engine, signal.SIGSTOP)
    waiting.cancel()
    kill(engine)
    with pytest.raises(EngineUnavailable):
        await first_event(waiting)
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"


async def test_an_answer_that_is_dropped_frees_its_sequence(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(max_sequences=1)
    answer = await begin(engine, "hold 1")
    await first_event(answer)
    del answer
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"


async def test_refusals_and_failures_of_one_request_reach_its_caller_only(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    with pytest.raises(InvalidRequest) as refusal:
        await begin(engine, "refuse")
    assert (refusal.value.code, refusal.value.parameter) == ("template_error", "messages")
    with pytest.raises(Overloaded):
        await begin(engine, "full")
    failing, fine = await begin(engine, "fail"), await begin(engine, "Bonjour")
    with pytest.raises(GenerationFailed):
        await first_event(failing)
    assert await text_of(fine) == "Bonjour"
    assert engine.restarts == {}


async def test_threads_that_were_set_hold_for_the_next_engine_too(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    await engine.set_threads(3, 5)
    assert await text_of(await begin(engine, "threads")) == "3/5"
    await engine.set_threads(1, 2)
    kill(engine)
    assert await text_of(await begin(engine, "threads")) == "1/2"
