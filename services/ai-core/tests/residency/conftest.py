"""Engines over a fake engine process, started through the same code as real ones."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ai_core.engine.messages import EngineConfig, Finished, Submit
from ai_core.engine_client.port import Answer
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.life import Patience
from ai_core.residency.quarantine import Quarantine
from ai_core.residency.spawn import EngineSpawner
from ai_core.residency.supervisor import SupervisedEngine

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")

MakeEngine = Callable[..., SupervisedEngine]
Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def begin() -> Begin:
    """Submits a raw prompt."""

    async def begin(engine: SupervisedEngine, prompt: str) -> Answer:
        return await engine.submit(Submit(id=0, prompt=prompt))

    return begin


@pytest.fixture
def text_of() -> TextOf:
    """Reads an answer to its end, which must be a ``Finished`` and nothing after it."""

    async def text_of(answer: Answer) -> str:
        events = [event async for event in answer]
        assert [isinstance(event, Finished) for event in events] == [False] * (len(events) - 1) + [True]
        return "".join(event.text for event in events)

    return text_of


@pytest.fixture
def until() -> Until:
    """Waits for a state that another process brings about, so that there is no event to wait for."""

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    return until


@pytest.fixture
def spawner() -> Iterator[EngineSpawner]:
    spawner = EngineSpawner((sys.executable, "-P", str(FAKE_ENGINE)))
    yield spawner
    spawner.close()


@pytest.fixture
async def make_engine(spawner: EngineSpawner) -> AsyncIterator[MakeEngine]:
    """Makes engines that restart without delay; closes them and checks that nothing is left of them."""
    engines: list[SupervisedEngine] = []
    children_before = psutil.Process().children()

    def make(
        loads: str = "well",
        *,
        max_sequences: int = 4,
        patience: Patience = Patience(silent=20.0, silent_loading=20.0, shutdown=5.0),
        restart_policy: RestartPolicy = RestartPolicy(delays=(0.0,)),
        quarantine: Quarantine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> SupervisedEngine:
        config = EngineConfig(model_path=loads, max_sequences=max_sequences)
        engine = SupervisedEngine(
            "small",
            config,
            spawner,
            patience=patience,
            restart_policy=restart_policy,
            quarantine=quarantine,
            clock=clock,
        )
        engines.append(engine)
        return engine

    yield make
    await asyncio.gather(*(engine.close() for engine in engines))
    assert psutil.Process().children() == children_before
