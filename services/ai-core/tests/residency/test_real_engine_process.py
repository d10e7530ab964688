"""The real engine program, with the backend that needs no model."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from ai_core.engine.messages import ChatMessage, EngineConfig, Submit
from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable, GenerationFailed, RequestQuarantined
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.life import Patience
from ai_core.residency.recovery import Cause
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine

Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]


@pytest.fixture
async def engine() -> AsyncIterator[SupervisedEngine]:
    spawner = EngineSpawner()
    engine = SupervisedEngine(
        "scripted",
        EngineConfig(backend="scripted", model_path="", max_sequences=4),
        spawner,
        # Idle engines speak once a second; this leaves room for a busy machine.
        patience=Patience(silent=4.0),
        restart_policy=RestartPolicy(delays=(0.0,), park_after=20),
    )
    yield engine
    await engine.close()
    spawner.close()


async def test_a_conversation_is_answered_with_what_the_user_said_last(
    engine: SupervisedEngine, text_of: TextOf
) -> None:
    messages = [ChatMessage("system", "Sois bref."), ChatMessage("user", "Où êtes-vous ? 🙂")]
    assert await text_of(await engine.submit(Submit(id=0, messages=messages))) == "Où êtes-vous ? 🙂"


async def test_a_long_answer_at_full_speed_reaches_a_caller_who_reads(
    engine: SupervisedEngine, text_of: TextOf
) -> None:
    wishes = [Submit(id=0, prompt=f"{n} [[3000]]", max_tokens=3000) for n in range(4)]
    # Each is read from when it begins, not from when the last one has been asked for.
    readers = [asyncio.ensure_future(text_of(await engine.submit(wish))) for wish in wishes]
    texts = await asyncio.gather(*readers)
    assert [len(text.encode()) for text in texts] == [3000] * 4


async def test_a_kill_a_crash_and_an_exit_are_survived(
    engine: SupervisedEngine, begin: Begin, text_of: TextOf
) -> None:
    streaming = await begin(engine, "[[100000]] [[slow 5]]")
    await anext(aiter(streaming))
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable):
        [event async for event in streaming]
    for prompt in ("[[crash]]", "[[exit]]", "[[raise]]"):
        with pytest.raises(RequestQuarantined):
            await text_of(await begin(engine, prompt))
        assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.KILLED: 1, Cause.CRASHED: 6}


async def test_a_failure_of_one_sequence_is_its_own(
    engine: SupervisedEngine, begin: Begin, text_of: TextOf
) -> None:
    failing, fine = await begin(engine, "[[fail]]"), await begin(engine, "Bonjour")
    with pytest.raises(GenerationFailed):
        await text_of(failing)
    assert await text_of(fine) == "Bonjour"
    assert engine.restarts == {}


async def test_a_request_that_crashes_its_reader_is_quarantined_and_others_are_answered(
    engine: SupervisedEngine, begin: Begin, text_of: TextOf
) -> None:
    with pytest.raises(RequestQuarantined):
        await begin(engine, "[[crash-when-read]]")
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.CRASHED: 2}


async def test_two_requests_that_only_crash_together_are_never_quarantined(
    engine: SupervisedEngine, begin: Begin, text_of: TextOf
) -> None:
    engine.start()
    prompts = [f"{n} [[crash-when-with-others]]" for n in range(2)]
    answers = await asyncio.gather(*(begin(engine, prompt) for prompt in prompts))
    outcomes = await asyncio.gather(*map(text_of, answers), return_exceptions=True)
    assert all(outcome in prompts or isinstance(outcome, EngineUnavailable) for outcome in outcomes)


async def test_a_step_that_never_ends_is_noticed(
    engine: SupervisedEngine, begin: Begin, text_of: TextOf
) -> None:
    hanging = await begin(engine, "[[hang]]")
    with pytest.raises(EngineUnavailable, match="stood still"):
        await text_of(hanging)
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
