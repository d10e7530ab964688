"""What a service's door and life are like, over real sockets and with real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import httpx
import pytest
from fastapi import FastAPI

from servicekit.serving.health import Health, create_app
from servicekit.serving.http import ListenError, listener, serving
from servicekit.serving.lifetime import until_signal


async def fine() -> float:
    return 0.0123


async def away() -> float:
    raise ConnectionResetError("with a secret in its text")


async def get(app: FastAPI, path: str) -> httpx.Response:
    async with serving(app, "127.0.0.1", 0) as port, httpx.AsyncClient(trust_env=False) as http:
        return await http.get(f"http://127.0.0.1:{port}{path}")


async def test_no_answer_waits_for_a_part_of_it_to_be_acknowledged() -> None:
    with listener("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_health_names_each_dependency_with_its_latency() -> None:
    health = Health({"database": fine, "telegram": fine}, {"database"})
    answer = await get(create_app("test", health), "/health")
    assert answer.status_code == 200
    part = {"status": "ok", "latency_ms": 12.3}
    assert answer.json() == {"status": "ok", "parts": {"database": part, "telegram": part}}


async def test_what_is_away_degrades_and_its_error_stays_inside() -> None:
    app = create_app("test", Health({"database": fine, "telegram": away}, {"database"}))
    answer = await get(app, "/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["parts"]["telegram"] == {"status": "down", "reason": "ConnectionResetError"}
    assert "secret" not in answer.text
    ready = await get(app, "/readyz")
    assert (ready.status_code, list(ready.json()["parts"])) == (200, ["database"])


async def test_without_what_is_essential_it_is_not_ready_but_alive() -> None:
    app = create_app("test", Health({"database": away, "telegram": fine}, {"database"}))
    assert (await get(app, "/readyz")).status_code == 503
    assert (await get(app, "/health")).json()["status"] == "down"
    assert (await get(app, "/livez")).status_code == 200


async def test_who_asks_often_gets_the_same_report_for_a_moment() -> None:
    asked: list[None] = []

    async def counted() -> float:
        asked.append(None)
        return 0.0

    now = 0.0
    health = Health({"telegram": counted}, set(), clock=lambda: now)
    await asyncio.gather(*(health.everything() for _ in range(5)))
    assert len(asked) == 1
    now = 10.0
    await health.everything()
    assert len(asked) == 2


async def test_metrics_have_their_place() -> None:
    async def metrics() -> bytes:
        return b"messages_total 3\n"

    answer = await get(create_app("test", Health({}, set()), metrics), "/metrics")
    assert answer.text == "messages_total 3\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (await get(create_app("test", Health({}, set())), "/metrics")).status_code == 404


async def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"{port}.*in use already"):
            async with serving(FastAPI(), "127.0.0.1", port):
                pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_lifetime_and_what_runs_in_the_background(number: signal.Signals) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with until_signal() as lifetime, lifetime.background(work()):
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        await lifetime.wait()
    assert ended.is_set()


@pytest.mark.parametrize("failing", [True, False])
async def test_a_lost_task_ends_the_service(failing: bool) -> None:
    async def work() -> None:
        if failing:
            raise LookupError("lost")

    async with until_signal() as lifetime, lifetime.background(work()):
        with pytest.raises((LookupError, RuntimeError), match=r"lost|should never end"):
            await lifetime.wait()
