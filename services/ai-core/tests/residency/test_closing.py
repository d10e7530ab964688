"""The end, asked for: nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable
from ai_core.residency.life import Patience
from ai_core.residency.supervisor import SupervisedEngine

MakeEngine = Callable[..., SupervisedEngine]
Begin = Callable[[SupervisedEngine, str], Coroutine[Any, Any, Answer]]
TextOf = Callable[[Answer], Coroutine[Any, Any, str]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def children_before() -> list[psutil.Process]:
    """Servers that other tests share."""
    children: list[psutil.Process] = psutil.Process().children()
    return children


async def test_requests_in_flight_are_told_that_the_engine_was_shut_down(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine(max_sequences=1)
    running = await begin(engine, "hold 1")
    await anext(aiter(running))
    waiting = await begin(engine, "waiting")
    await engine.close()
    for answer in (running, waiting):
        with pytest.raises(EngineUnavailable, match="shut down"):
            await anext(aiter(answer))
    assert engine.state == "stopped"


async def test_callers_that_wait_for_a_load_learn_of_the_end(
    make_engine: MakeEngine, begin: Begin, until: Until
) -> None:
    engine = make_engine("forever", patience=Patience(shutdown=0.1))
    waiting = asyncio.create_task(begin(engine, "Bonjour"))
    await until(lambda: engine.load_progress > 0)
    await engine.close()
    with pytest.raises(EngineUnavailable, match="shut down"):
        await waiting


async def test_a_closed_engine_takes_nothing_and_can_be_closed_again(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine()
    await engine.close()
    await engine.close()
    with pytest.raises(EngineUnavailable, match="shut down"):
        await begin(engine, "Bonjour")


async def test_an_engine_that_does_not_listen_is_killed(
    make_engine: MakeEngine, children_before: list[psutil.Process]
) -> None:
    engine = make_engine("serve-deaf", patience=Patience(shutdown=0.1))
    await engine.wait_ready()
    await engine.close()
    assert psutil.Process().children() == children_before


async def test_a_stopped_engine_is_killed(
    make_engine: MakeEngine, children_before: list[psutil.Process]
) -> None:
    engine = make_engine(patience=Patience(shutdown=0.1))
    await engine.wait_ready()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    await engine.close()
    assert psutil.Process().children() == children_before


async def test_restarts_leave_no_process_no_open_file_and_no_task_behind(
    make_engine: MakeEngine, begin: Begin, text_of: TextOf, children_before: list[psutil.Process]
) -> None:
    engine = make_engine()
    before = open_files()
    for _ in range(3):
        waiting = [await begin(engine, "alone 0"), await begin(engine, "hold 1")]
        await anext(aiter(waiting[1]))
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        for answer in waiting:
            with pytest.raises(EngineUnavailable):
                await anext(aiter(answer))
    assert await text_of(await begin(engine, "Bonjour")) == "Bonjour"
    await engine.close()
    assert psutil.Process().children() == children_before
    assert open_files() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_each_start_and_end_is_one_line_without_any_text_of_users(
    make_engine: MakeEngine, begin: Begin
) -> None:
    engine = make_engine(max_sequences=2)
    with capture_logs() as lines:
        answers = [await begin(engine, prompt) for prompt in ("alone 0", "hold 1", "waiting in secret")]
        await anext(aiter(answers[1]))
        assert engine.pid is not None
        first = engine.pid
        os.kill(first, signal.SIGSEGV)
        with pytest.raises(EngineUnavailable):
            await anext(aiter(answers[1]))
        await anext(aiter(answers[0]))
        await engine.close()
    assert [line["event"] for line in lines] == ["engine_started", "engine_ready", "engine_ended"] * 2
    crashed = lines[2]
    assert (crashed["pid"], crashed["cause"], crashed["signal"]) == (first, "crashed", "SIGSEGV")
    assert crashed["requests"] == {"failed": 1, "retried_alone": 1, "resubmitted": 1}
    assert lines[5]["cause"] == "closed"
    assert "secret" not in str(lines)
