"""A model comes up, or does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ai_core.engine.messages import EngineConfig, Submit
from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.life import Patience
from ai_core.residency.recovery import Cause
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine

MakeEngine = Callable[..., SupervisedEngine]
Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


class MovableClock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


async def test_the_first_request_loads_the_model_and_all_callers_share_the_load(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf
) -> None:
    engine = make_engine()
    assert (engine.state, engine.ready, engine.pid) == ("stopped", None, None)
    answers = await asyncio.gather(*(begin(engine, "Bonjour") for _ in range(5)))
    assert await asyncio.gather(*map(text_of, answers)) == ["Bonjour"] * 5
    assert engine.load_progress == 1.0
    assert engine.ready is not None
    assert engine.ready.context_length == 100


async def test_a_model_can_be_loaded_before_the_first_request(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.start()
    states: list[str] = [engine.state]
    ready = await engine.wait_ready()
    states.append(engine.state)
    assert states == ["loading", "ready"]
    assert ready == engine.ready


async def test_a_caller_whose_patience_ends_while_the_model_loads_learns_how_far_it_is(
    make_engine: MakeEngine, until: Until
) -> None:
    engine = make_engine("forever", patience=Patience(shutdown=0.1))
    engine.start()
    await until(lambda: engine.load_progress > 0)
    with pytest.raises(EngineUnavailable, match="25%") as loading:
        await engine.submit(Submit(id=0, prompt="Bonjour", timeout=0.05))
    assert loading.value.code == "model_loading"
    assert loading.value.retry_after is not None
    assert engine.state == "loading"


async def test_a_model_that_cannot_be_loaded_is_parked_with_the_engines_own_words(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine("fail")
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=r"The file is broken\.") as parked:
            await begin(engine, "Bonjour")
        assert parked.value.code == "model_parked"
        assert parked.value.retry_after == pytest.approx(60, abs=5)
    assert engine.state == "parked"
    assert engine.restarts == {Cause.LOAD_FAILED: 1}


async def test_a_load_that_crashes_once_is_tried_again_and_the_caller_notices_only_time(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf, tmp_path: Path
) -> None:
    engine = make_engine(f"crash-once {tmp_path / 'crashed'}")
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    assert engine.restarts == {Cause.CRASHED: 1}


async def test_a_load_that_crashes_again_and_again_parks_the_model(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine("crash", restart_policy=RestartPolicy(delays=(0.0,), park_after=3))
    with pytest.raises(EngineUnavailable, match="SIGABRT") as parked:
        await begin(engine, "Bonjour")
    assert parked.value.code == "model_parked"
    assert engine.restarts == {Cause.CRASHED: 3}


async def test_a_load_that_says_nothing_is_given_up(make_engine: MakeEngine, begin: Begin) -> None:
    engine = make_engine(
        "silent",
        patience=Patience(silent=20.0, silent_loading=0.2),
        restart_policy=RestartPolicy(park_after=1),
    )
    with pytest.raises(EngineUnavailable) as parked:
        await begin(engine, "Bonjour")
    assert parked.value.code == "model_parked"
    assert engine.restarts == {Cause.HUNG: 1}


async def test_a_parked_model_is_tried_once_more_after_its_cool_down(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf, until: Until
) -> None:
    clock = MovableClock()
    engine = make_engine(restart_policy=RestartPolicy(delays=(0.0,), park_after=2), clock=clock)
    for _ in range(2):
        await engine.wait_ready()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: engine.state != "ready")
    with pytest.raises(EngineUnavailable, match="too often, the last time by SIGKILL"):
        await begin(engine, "Bonjour")
    clock.ahead += 61
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"


async def test_an_engine_program_that_cannot_be_started_is_an_answer_too(begin: Begin) -> None:
    spawner = EngineSpawner(("/nonexistent/engine",))
    engine = SupervisedEngine(
        "small", EngineConfig(model_path="m"), spawner, restart_policy=RestartPolicy(park_after=1)
    )
    with pytest.raises(EngineUnavailable, match="No such file"):
        await begin(engine, "Bonjour")
    await engine.close()
    spawner.close()
