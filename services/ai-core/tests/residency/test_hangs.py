"""An engine stands still: it is noticed and replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable, RequestQuarantined
from ai_core.residency.life import Patience
from ai_core.residency.recovery import Cause
from ai_core.residency.supervisor import SupervisedEngine

MakeEngine = Callable[..., SupervisedEngine]
Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

# The fake engine says something fifty times a second; this leaves room for a busy machine.
IMPATIENT = Patience(silent=1.0, silent_loading=20.0)


async def test_a_stopped_engine_is_replaced_and_its_requests_are_told_to_come_again(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(max_sequences=1, patience=IMPATIENT)
    running = await begin(engine, "hold 1")
    await anext(aiter(running))
    waiting = await begin(engine, "waiting")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(EngineUnavailable, match="stood still") as lost:
        await anext(aiter(running))
    assert lost.value.retry_after is not None
    assert await text_of(waiting) == "waiting"
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.HUNG: 1}


async def test_an_idle_engine_that_stops_is_replaced_before_anybody_asks(
    make_engine: MakeEngine, until: Until
) -> None:
    engine = make_engine(patience=IMPATIENT)
    await engine.wait_ready()
    stopped = engine.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    await until(lambda: engine.pid not in {stopped, None} and engine.state == "ready")
    assert engine.restarts == {Cause.HUNG: 1}


async def test_a_request_that_makes_engines_hang_twice_is_quarantined(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine(patience=IMPATIENT)
    for expected in (EngineUnavailable, RequestQuarantined):
        answer = await begin(engine, "hang 1")
        await anext(aiter(answer))
        with pytest.raises(expected):
            await anext(aiter(answer))
    with pytest.raises(RequestQuarantined):
        await begin(engine, "hang 1")
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
